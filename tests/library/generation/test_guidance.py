"""Guidance by one word: a pipeline's own argument, the scale of its guider for one run, or which argument it has."""

from typing import Any

import pytest
import torch
from small_pipelines import SMALL

import genkit
from genkit.checks.guidance import guided

GUIDED = ("HunyuanVideo15Pipeline", "MotifVideoPipeline")
SHORT = {"num_frames": 5, "height": 64, "width": 64, "num_inference_steps": 1}


def frames(handle: Any, **asked: Any) -> torch.Tensor:
    return torch.as_tensor(handle.generate("a red circle", seed=7, **{**SHORT, **asked}).frames)


@pytest.mark.parametrize("name", GUIDED)
def test_a_guider_has_another_scale_for_one_run(name: str) -> None:
    pipe = SMALL[name].build()
    before = pipe.guider.guidance_scale
    with genkit.apply(pipe) as handle:
        plain, strong = frames(handle), frames(handle, guidance_scale=before + 4)
        assert pipe.guider.guidance_scale == before
        assert torch.equal(frames(handle), plain) and not torch.equal(strong, plain)
        assert handle.receipts[1].arguments["guidance_scale"] == before + 4
        request = handle.last.request
        pipe.guider.guidance_scale = before + 4
        assert torch.equal(frames(handle), strong), "it is the guider's own scale that counts"
    assert "guidance_scale" not in request


@pytest.mark.parametrize("name", GUIDED)
@pytest.mark.parametrize("scale", [0, 1])
def test_without_guidance_a_guider_runs_as_well(name: str, scale: float) -> None:
    with genkit.apply(SMALL[name].build()) as handle:
        assert torch.isfinite(frames(handle, guidance_scale=scale)).all()
        branches = {True: 1, False: 2}[scale == 1]
        assert handle.receipts[0].attention.calls == branches * len(handle.session.layers)


def test_a_guider_gets_its_scale_back_after_an_error() -> None:
    pipe = SMALL["MotifVideoPipeline"].build()
    before = pipe.guider.guidance_scale

    def stop(*given: Any) -> None:
        assert pipe.guider.guidance_scale == 2
        raise KeyError("stop")

    with genkit.apply(pipe) as handle, pytest.raises(KeyError, match="stop"):
        frames(handle, guidance_scale=2, callback_on_step_end=stop)
    assert pipe.guider.guidance_scale == before
    with guided(pipe, None):
        assert pipe.guider.guidance_scale == before


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("StableVideoDiffusionPipeline", {"guidance_scale": 3}, "max_guidance_scale and min_guidance_scale"),
        ("LTX2DFRPipeline", {"guidance_scale": 3}, "takes no guidance, so leave it out"),
        ("WanPipeline", {"true_cfg_scale": 3}, "set by guidance_scale and guidance_scale_2"),
        ("HunyuanVideoPipeline", {"guidance_scale_2": 3}, "set by guidance_scale and true_cfg_scale"),
        ("MotifVideoPipeline", {"true_cfg_scale": 3}, "set by guidance_scale"),
        ("WanPipeline", {"guidance_scale_2": 3}, "boundary_ratio"),
    ],
)
def test_another_scale_is_refused_with_those_that_there_are(name: str, asked: dict[str, Any], said: str) -> None:
    given = {key: make() for key, make in SMALL[name].inputs.items()}
    prompt = SMALL[name].call.get("prompt")
    with genkit.apply(SMALL[name].build()) as handle, pytest.raises(genkit.UsageError, match=said):
        handle.generate(prompt, seed=7, **given, **asked)


@pytest.mark.parametrize("scale", [0, 1])
@pytest.mark.parametrize("name", ["WanPipeline", "LTXPipeline", "CogVideoXPipeline", "Cosmos3OmniPipeline"])
def test_guidance_of_zero_and_one_is_made(name: str, scale: float) -> None:
    call = {**SMALL[name].call, "num_inference_steps": 1, "guidance_scale": scale}
    asked = {key: value for key, value in call.items() if key not in ("prompt", "output_type", "negative_prompt")}
    with genkit.apply(SMALL[name].build()) as handle:
        video = handle.generate("a red circle", seed=7, negative_prompt="blue", **asked)
    said = "the negative prompt has no effect at guidance_scale=1; it needs more" in video.receipt.notes
    assert said == (scale == 1)


def test_a_negative_prompt_of_hunyuan_needs_the_true_scale() -> None:
    asked = {key: SMALL["HunyuanVideoPipeline"].call[key] for key in ("height", "width", "max_sequence_length")}
    with genkit.apply(SMALL["HunyuanVideoPipeline"].build()) as handle:
        for changes, said in (({}, 1), ({"true_cfg_scale": 2.0}, 0)):
            video = handle.generate(
                "a red circle", seed=7, negative_prompt="blue", num_frames=5, num_inference_steps=1, **asked, **changes
            )
            assert len([note for note in video.receipt.notes if "no effect at true_cfg_scale=1" in note]) == said


def test_a_text_that_would_be_taken_for_the_image_is_refused() -> None:
    small = SMALL["WanImageToVideoPipeline"]
    asked = {key: value for key, value in small.call.items() if key not in ("prompt", "output_type")}
    with genkit.apply(small.build()) as handle, pytest.raises(genkit.UsageError, match="would take text for the image"):
        handle.generate("a red circle", image=small.inputs["image"](), **{**asked, "max_sequence_length": 16})
