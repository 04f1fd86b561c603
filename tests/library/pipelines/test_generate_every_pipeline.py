"""``generate`` makes a video with every pipeline class, and the receipt says what was made."""

from typing import Any

import pytest
from small_pipelines import SMALL
from small_pipelines.parts import film, image, mask_film
from test_every_pipeline import ACCEPTED

import genkit

OURS = ("output_type", "generator", "seed", "prompt")
"""Arguments of the small calls that ``generate`` sets itself, or takes in its first place."""
CHANGES: dict[str, dict[str, Any]] = {
    "HunyuanVideoFramepackPipeline": {"num_frames": 13},
    "LTX2DFRTemporalRefinePipeline": {"num_frames": 65},
    "LTXConditionPipeline-places": {"conditions": None, "image": image(128, 96)},
    "LTX2ConditionPipeline": {"conditions": None, "image": image(128, 96)},
    "LTX2InContextPipeline": {"reference_conditions": None, "reference": film(33, 128, 96)},
    "LTX2InContextPipeline-strength": {"reference_conditions": None, "reference": film(33, 128, 96)},
    "EasyAnimateInpaintPipeline": {"video": film(17), "mask_video": None, "mask": mask_film(17)},
    "LTX2HDRPipeline": {"reference_conditions": None, "reference": film(33, 128, 96)},
}
"""What is asked in other words: lengths of the video itself, and images in place of diffusers' own objects."""
BROKEN = {"I2VGenXLPipeline": "text_model"}
"""Small pipelines that fail in diffusers with these versions, unless an argument that no recipe stores is None."""


def asked(name: str) -> dict[str, Any]:
    """What to ask of ``generate`` for the smallest call of a pipeline."""
    small = SMALL[name].arguments()
    changed = {key: value() if callable(value) else value for key, value in CHANGES.get(name, {}).items()}
    return {key: value for key, value in {**small, **changed}.items() if key not in OURS}


@pytest.mark.parametrize("name", [name for name in ACCEPTED if name in SMALL])
def test_generate_makes_a_video(name: str) -> None:
    prompt = SMALL[name].call.get("prompt")
    with genkit.apply(SMALL[name].build()) as handle:
        rate = {} if handle.card.fps else {"fps": 8}
        if name in BROKEN:
            with pytest.raises(AttributeError, match=BROKEN[name]):
                handle.generate(prompt, seed=7, **rate, **asked(name))
            return
        video = handle.generate(prompt, seed=7, **rate, **asked(name))
    receipt = video.receipt
    assert receipt is not None and video.frames.ndim == 4 and video.frames.shape[-1] == 3
    assert receipt.frames == len(video.frames) and receipt.attention.calls
    assert not [note for note in receipt.notes if "frames were asked for" in note or "unfinished" in note]
    if receipt.frames != receipt.frames_asked is not None:
        assert any(f"makes {receipt.frames} frames" in note for note in receipt.notes)
