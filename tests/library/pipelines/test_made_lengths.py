"""How many frames each pipeline makes of the number that it is given: said before the run, and made in it."""

from typing import Any

import pytest
from small_pipelines import SMALL
from test_every_pipeline import ACCEPTED

import genkit
from genkit.attention.facts.card import Card
from genkit.attention.facts.made import frames_of_video
from genkit.checks.arguments import arguments_of
from genkit.generation.receipts.answer import videos_of
from genkit.pipelines.matching import card_of

FIXED = {
    *("AnimateDiffControlNetPipeline", "LucyEditPipeline"),
    *("LTX2DFRPipeline", "LTX2DFRTemporalRefinePipeline", "LattePipeline"),
}
"""Small pipelines that are given as many images as frames, or refuse what they cannot make."""
MORE_STEPS = {"MochiPipeline"}
"""Small pipelines whose schedule of one step is not a schedule."""


def said_and_made(name: str, pipe: Any, card: Card, **changes: Any) -> tuple[int, int]:
    """The pixel frames that the facts say, and those of one real call: of one step, unless a strength leaves some."""
    small = SMALL[name]
    shorter = "num_inference_steps" in small.call and "strength" not in arguments_of(pipe) and name not in MORE_STEPS
    steps = {"num_inference_steps": 1} if shorter else {}
    arguments = small.arguments(output_type="np", **steps, **changes)
    length = card.length_argument or card.length_from
    assert length is not None
    said = card.made(pipe, arguments, arguments[length] if card.length_argument else frames_of_video(arguments[length]))
    return said, len(videos_of(pipe, pipe(**arguments))[0])


@pytest.mark.parametrize("name", [name for name in ACCEPTED if name in SMALL])
def test_what_is_said_before_the_run_is_made(name: str) -> None:
    pipe = SMALL[name].build()
    card = card_of(pipe)
    said, made = said_and_made(name, pipe, card)
    assert said == made
    if card.length_argument is not None and name not in FIXED:
        longer = SMALL[name].call[card.length_argument] + 3
        said, made = said_and_made(name, pipe, card, **{card.length_argument: longer})
        assert said == made


@pytest.mark.parametrize(
    ("name", "frames", "said"),
    [
        ("HunyuanVideoFramepackPipeline", 9, "the nearest is 13"),
        ("HunyuanVideoFramepackPipeline", 20, "the nearest are 13 and 25"),
        ("HeliosPipeline", 20, "the nearest are 17 and 33"),
        ("HunyuanVideoImageToVideoPipeline", 18, r"makes 4k \+ 1 frames; the nearest is 17"),
        ("LattePipeline", 17, "positions of this Latte model end at 16 frames"),
        ("SanaVideoPipeline", 18, r"makes 4k \+ 1 frames; the nearest is 17"),
        ("WanVideoToVideoPipeline", 40, "video has 17 frames"),
        ("AnimateDiffPipeline", 33, "positions of this AnimateDiff model end at 32"),
    ],
)
def test_what_no_call_makes_is_refused_with_the_nearest(name: str, frames: int, said: str) -> None:
    with genkit.apply(SMALL[name].build()) as handle, pytest.raises(genkit.UsageError, match=said):
        handle.generate("a red circle", num_frames=frames, **given_to(name))


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("HunyuanVideoFramepackPipeline", 25),
        ("LattePipeline", 16),
        ("SanaVideoPipeline", 9),
        ("LTX2DFRTemporalRefinePipeline", 65),
    ],
)
def test_frames_are_those_of_the_video_whatever_the_pipeline_calls_them(name: str, frames: int) -> None:
    with genkit.apply(SMALL[name].build()) as handle:
        video = handle.generate("a red circle", num_frames=frames, seed=7, **given_to(name))
    assert len(video.frames) == video.receipt.frames == video.receipt.frames_asked == frames
    assert video.request["num_frames"] == frames


def test_the_receipt_says_before_the_run_what_a_default_makes() -> None:
    name, notes = "HunyuanVideoFramepackPipeline", list[str]()
    with genkit.apply(SMALL[name].build()) as handle, pytest.raises(KeyError):
        handle.generate("a red circle", seed=7, on_event=lambda event: stop(notes, event), **given_to(name))
    assert any("num_frames=129 makes" in note for note in notes)


def stop(notes: list[str], event: Any) -> None:
    """Keep what is said before the first step, and end the run."""
    notes += event.notes
    raise KeyError("enough")


def given_to(name: str) -> dict[str, Any]:
    """The other arguments of the smallest call."""
    ours = ("prompt", "output_type", "generator", "seed", "num_frames", "frames", "video_length")
    return {key: value for key, value in SMALL[name].arguments().items() if key not in ours}
