"""Genkit's half of `make parity`: the suite `vbench` on the same files and weights, correct or with one mistake."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genkit.benchmarks.evaluate.run import LEDGER, evaluate, failures
from genkit.benchmarks.parity.clips import CLIPS
from genkit.benchmarks.parity.mistakes import Mistake
from genkit.benchmarks.suites.vbench import suite_with
from genkit.benchmarks.suites.vbench_formulas import Mode
from genkit.errors import GenkitError

SUITE = "vbench."
DIMENSIONS = (
    "temporal_flickering",
    "subject_consistency",
    "background_consistency",
    "motion_smoothness",
    "dynamic_degree",
)
"""Dimensions that are compared. The networks of the two others, CLIP ViT-L/14 with a head and MUSIQ, do not run."""
WEIGHTS = {"dino-vitb16": "dino.pth", "clip-vitb32": "clip.pt", "amt-s": "amt-s.pth", "raft-things": "raft-things.pth"}
"""The weight files of the official side, by backbone."""


def measure(work: Path, run: Path, mode: Mode = "vbench-0.1.5") -> dict[str, Any]:
    """Evaluate ``work/clips`` into the run folder ``run``, continuing where its ledger ends.

    Returns:
        By dimension ``aggregate``, ``videos``, ``effect`` (of the mode, in words) and, for the dynamic degree,
        ``curves`` in pixels of the video.

    Raises:
        GenkitError: a clip could not be measured.
    """
    files = {key: work / "weights" / name for key, name in WEIGHTS.items()}
    suite = suite_with(mode=mode, backbones=files, only=DIMENSIONS)
    results = evaluate(suite, [work / "clips"], run, resume=True)
    if wrong := failures(results):
        raise GenkitError(f"a clip of the parity check could not be measured: {wrong}")
    return {name: _dimension(name, results) for name in DIMENSIONS}


def measure_with(mistake: Mistake, work: Path, honest: Path, run: Path) -> dict[str, Any]:
    """Measure with a mistake; measurements it does not affect are taken from the honest run's ledger."""
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    affected = {SUITE + name for name in mistake.dimensions if mistake.measured}
    rows = (honest / LEDGER).read_text("utf-8").splitlines(keepends=True)
    (run / LEDGER).write_text("".join(row for row in rows if json.loads(row).get("metric") not in affected), "utf-8")
    with _make(mistake):
        return measure(work, run)


@contextmanager
def _make(mistake: Mistake) -> Iterator[None]:
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in mistake.changes]
    for owner, name, wrong in mistake.changes:
        setattr(owner, name, wrong)
    try:
        yield
    finally:
        for owner, name, right in before:
            setattr(owner, name, right)


def _dimension(name: str, results: dict[str, Any]) -> dict[str, Any]:
    rows = {video["name"]: video["metrics"][SUITE + name] for video in results["videos"]}
    values = {file: row["sum"] / row["weight"] for file, row in rows.items()}
    about = results["metrics"][SUITE + name]
    found: dict[str, Any] = {"aggregate": about["value"], "videos": values, "effect": about["mode_effect"]}
    if name == "dynamic_degree":
        found["videos"] = {file: bool(value) for file, value in values.items()}
        scale = {clip.name: min(clip.height, clip.width) / 256 for clip in CLIPS}
        found["curves"] = {file: [scale[file] * speed for speed in row["curve"]] for file, row in rows.items()}
    return found
