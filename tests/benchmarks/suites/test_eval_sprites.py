"""The suite of the oracle: painted clips are right where they show what was asked, and wrong where they do not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genkit.apps.cli import main
from genkit.benchmarks.evaluate.clips import save_raw
from genkit.benchmarks.evaluate.metric import Sample
from genkit.benchmarks.evaluate.stats import Stat
from genkit.benchmarks.suites.sprites import SUITE
from genkit.errors import GenkitError
from genkit.tiny.world import EXAMPLE, caption, parse, render
from genkit.video.video import Video


@pytest.fixture(scope="module")
def clip() -> Video:
    frames = render([EXAMPLE], torch.Generator().manual_seed(0), num_frames=17, side=64)[0]
    return Video(frames, 8.0)


def values(video: Video, prompt: str) -> dict[str, float | None]:
    sample = Sample(video, prompt)
    return {metric.name: metric.measure(sample).value for metric in SUITE.metrics}


def test_a_painted_clip_is_right_in_everything(clip: Video) -> None:
    assert values(clip, caption(EXAMPLE)) == {
        f"sprites.{name}": 1.0 for name in ("color", "shape", "size", "motion", "background", "joint")
    }


def test_a_wrong_colour_is_wrong_in_colour_and_jointly(clip: Video) -> None:
    prompt = caption(EXAMPLE).replace("red", "green")
    assert parse(prompt).things[0].color == "green"
    found = values(clip, prompt)
    assert [name for name, value in found.items() if value == 0] == ["sprites.color", "sprites.joint"]


def test_a_longer_clip_counts_its_windows(clip: Video) -> None:
    """The second window stands still, so that its motion is wrong."""
    frames = np.concatenate([clip.frames, np.repeat(clip.frames[-1:], 16, axis=0)])
    sample = Sample(Video(frames, 8.0), caption(EXAMPLE))
    motion = next(metric for metric in SUITE.metrics if metric.name == "sprites.motion").measure(sample)
    assert (motion.sum, motion.weight, motion.curve) == (1.0, 2.0, (1.0, 0.0))


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [(None, "no single prompt is stored in the file"), ("a dog", "'a dog' is not a sentence of the tiny world")],
)
def test_a_prompt_that_says_nothing_to_the_oracle(clip: Video, prompt: Any, reason: str) -> None:
    with pytest.raises(GenkitError, match=reason):
        SUITE.metrics[0].measure(Sample(clip, prompt))


def test_each_question_has_an_identity_of_its_own() -> None:
    assert len({str(metric.identity()) for metric in SUITE.metrics}) == len(SUITE.metrics)


def ceilings(prompt: str, frames: int) -> dict[str, float | None]:
    stat = Stat.of_curve([1.0] * ((frames - 1) // 16))
    return {metric.name.removeprefix("sprites."): metric.ceiling(prompt, stat) for metric in SUITE.metrics}


def test_the_ceiling_is_what_the_exact_world_gets() -> None:
    """What moves across is gone after the training length; what spins goes on for ever."""
    across, spins = (f"a large red square {m} on a navy background" for m in ("moves right", "spins"))
    assert set(ceilings(across, 17).values()) == {1.0} == set(ceilings(spins, 65).values())
    long = ceilings(across, 65)
    assert long["motion"] is not None and long["motion"] <= 0.5 and long["joint"] is not None
    frames = render([parse(across)], torch.Generator().manual_seed(9), num_frames=65, side=64)[0].movedim(1, -1).numpy()
    exact = values(Video(frames, 8.0), across)
    assert exact["sprites.joint"] == pytest.approx(long["joint"], abs=0.26), "a window more or less, by pace and place"
    assert ceilings(across, 65) == long, "the same each time"
    assert SUITE.metrics[0].ceiling(None, Stat(1.0, 1.0)) is None
    assert SUITE.metrics[0].ceiling(across, Stat(0.0, 0.0)) is None


def test_the_ceiling_stands_beside_every_accuracy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompt = "a large red square moves right on a navy background"
    for seed in range(3):
        frames = render([parse(prompt)], torch.Generator().manual_seed(seed), num_frames=65, side=64)[0]
        film = Video(frames.movedim(1, -1).numpy(), 8.0, {"prompt": prompt, "seed": seed})
        save_raw(film, tmp_path / "videos" / f"{seed}.npz")
    for name in ("a", "b"):
        assert main(["eval", "run", str(tmp_path / "videos"), "--suite", "sprites", "--out", str(tmp_path / name)]) == 0
    table = capsys.readouterr().out
    results = json.loads((tmp_path / "a" / "results.json").read_text())
    most = results["metrics"]["sprites.motion"]["ceiling"]
    assert most == ceilings(prompt, 65)["motion"] <= 0.5 and results["metrics"]["sprites.color"]["ceiling"] <= 1
    assert all(row["ceiling"] is not None for video in results["videos"] for row in video["metrics"].values())
    assert table.splitlines()[0].split()[:3] == ["metric", "value", "ceiling"] and f"{most:.6g}" in table
    assert main(["eval", "compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert f" of {most:.6g}" in capsys.readouterr().out
