"""PositionInterpolation and RIFLEx: what they are asked, what they refuse, with others, and on the embedded model."""

import re
from typing import Any

import families
import numpy as np
import pytest
import torch
from sparse_settings import made, short_native
from tree import TOP

import genkit
from genkit.errors import UsageError
from genkit.plugins import catalogue

PROMPT = "a red circle moves right on a navy background"


@pytest.fixture(scope="module")
def tiny() -> Any:
    pipe = genkit.load("tiny")
    pipe.set_progress_bar_config(disable=True)
    return pipe


def video(pipe: Any, *plugins: Any, frames: int = 65, prompt: str = PROMPT) -> Any:
    with genkit.apply(pipe, *plugins) as handle:
        return handle.generate(prompt, num_frames=frames, num_inference_steps=2, seed=3)


def test_the_video_is_that_of_a_table_written_out_by_hand(tiny: Any) -> None:
    """Bit for bit: 65 frames at every fourth of the positions of 17."""
    for plugin in (genkit.PositionInterpolation(), genkit.PositionInterpolation(factor=4)):
        ours = video(tiny, plugin)
        rope = tiny.transformer.rope
        own = rope.freqs_cos, rope.freqs_sin
        width = 64 - 4 * (64 // 6)
        pairs = torch.tensor([10000 ** (-2 * j / width) for j in range(width // 2)], dtype=torch.float64)
        angles = torch.outer(torch.arange(33).double() / 4, pairs).repeat_interleave(2, 1)
        try:
            for name, values in (("freqs_cos", angles.cos()), ("freqs_sin", angles.sin())):
                table = getattr(rope, name).clone()
                table[:33, :width] = values.float()
                setattr(rope, name, table)
            theirs = video(tiny)
        finally:
            rope.freqs_cos, rope.freqs_sin = own
        assert np.array_equal(ours.frames, theirs.frames)
        assert not np.array_equal(ours.frames, video(tiny).frames)


def test_the_receipt_says_what_was_found_and_what_changed(tiny: Any) -> None:
    (note,) = video(tiny, genkit.RIFLEx()).receipt.notes
    assert note == (
        "riflex: frequency 2 has a period of 36.67 frames instead of 13.54, for 33 latent frames (training: 9)"
    )
    (note,) = video(tiny, genkit.PositionInterpolation()).receipt.notes
    assert note == (
        "position-interpolation: positions run from 0 to 8 instead of 0 to 32, for 33 latent frames (training: 9)"
    )


PLANS = [genkit.PositionInterpolation(), genkit.RIFLEx(), genkit.NTK(), genkit.YaRN()]


@pytest.mark.parametrize("plugin", PLANS, ids=lambda plugin: plugin.name)
def test_a_video_of_the_training_length_is_left_bit_for_bit(tiny: Any, plugin: Any) -> None:
    ours = video(tiny, plugin, frames=17)
    assert np.array_equal(ours.frames, video(tiny, frames=17).frames)
    assert any("9 latent frames keep the model's own positions" in note for note in ours.receipt.notes)


# --- what is asked ---


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "position-interpolation:factor=0.5",
            "factor=0.5 must be a number of at least 1; leave it out to fit the video",
        ),
        ("position-interpolation:factor=inf", "factor=inf must be a number|is not of type"),
        ("riflex:k=0", "riflex: k=0 must be at least 1; leave it out to find it by the rule"),
        ("riflex:n_k=0", "riflex: n_k=0 must be at least 1"),
        ("riflex:margin=0", r"riflex: margin=0.0 is a share of a period and must be in \(0, 1\]"),
        ("riflex:margin=1.5", r"riflex: margin=1.5 is a share"),
        ("ntk:factor=0.9", "ntk: factor=0.9 must be a number of at least 1; leave it out for the length"),
        ("yarn:factor=0.9", "yarn: factor=0.9 must be a number of at least 1; leave it out for the length"),
        ("yarn:slow=3,fast=2", "yarn: slow=3.0 must be at least 0 and less than fast=2.0"),
    ],
)
def test_mistakes_get_a_sentence(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        catalogue.parse(text)


def test_a_frequency_that_the_model_does_not_have_is_refused(tiny: Any) -> None:
    with pytest.raises(UsageError, match="riflex: k=99 is more than the 12 temporal frequencies of this model"):
        video(tiny, genkit.RIFLEx(k=99))


def test_only_one_plan_of_positions_goes_into_a_pipeline(tiny: Any) -> None:
    with pytest.raises(
        UsageError, match="position-interpolation and riflex cannot be combined: both claim temporal positions"
    ):
        genkit.apply(tiny, genkit.PositionInterpolation(), genkit.RIFLEx())


# --- with others ---

OTHERS: dict[str, Any] = {
    "radial": lambda: made({"radial": "radial:density=0.5"}, "radial"),
    "freenoise": lambda: genkit.FreeNoise(window=3, stride=1),
    "timeline": genkit.Timeline,
}


@pytest.mark.parametrize("family", ["wan", "cogvideox", "mochi", "animatediff"])
@pytest.mark.parametrize("other", OTHERS)
def test_both_go_with_the_others(family: str, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each either runs, and differs from the other plug-in alone, or is refused as the other alone is."""
    monkeypatch.setattr("genkit.generation.context.card_of", short_native)
    pipe = families.FAMILIES[family]()
    sizes = {key: value for key, value in families.sizes(family).items() if "prompt" not in key}

    def frames(*plugins: Any) -> Any:
        try:
            with genkit.apply(pipe, *plugins) as handle:
                prompt = "a red circle | a blue square" if other == "timeline" else "a red circle"
                return handle.generate(prompt, seed=1, **sizes).frames
        except UsageError as error:
            return str(error)

    alone = frames(OTHERS[other]())
    for plugin in (genkit.PositionInterpolation(factor=2), genkit.RIFLEx(k=1, n_k=2, margin=0.5)):
        both = frames(OTHERS[other](), plugin)
        assert type(both) is type(alone), both
        if isinstance(alone, str):
            assert both == alone
        else:
            assert np.isfinite(both).all() and both.shape == alone.shape
            unseen = family == "animatediff" or (family == "mochi" and plugin.name == "riflex")
            assert unseen or not np.array_equal(both, alone), plugin.name
    assert np.array_equal(frames(), frames())


# --- the page of documentation ---


def test_the_example_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (TOP / "docs" / "seams" / "positions.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    exec(compile(code, "positions.md", "exec"), {"__name__": "example"})  # noqa: S102
    said = code.rpartition("# ")[2].strip()
    assert said in capsys.readouterr().out
