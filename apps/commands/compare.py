"""`genkit compare`: make the same videos in several ways, measure them, write one report.

The folder contains ``plan.json``; the clips of every side under ``videos/`` (mp4) and ``frames/`` (raw frames); the
evaluations under ``scores/``; and finally ``report.json`` and ``report.html``. Each file is written whole or not at
all, so a stopped comparison continues from what is finished.
"""

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from genkit.apps.commands.compare_plan import (
    Plan,
    claim_folder,
    folder_for,
    make_plan,
    read_plan,
    read_prompts,
    write_plan,
)
from genkit.apps.terminal.progress import progress_bar, status_line
from genkit.apps.terminal.signals import exit_code
from genkit.apps.terminal.warning import warning
from genkit.benchmarks.evaluate.clips import decode
from genkit.benchmarks.evaluate.metric import Suite
from genkit.benchmarks.evaluate.registry import find_suite
from genkit.benchmarks.evaluate.run import evaluate
from genkit.benchmarks.report.findings import Comparison, Side, as_json, tabulate
from genkit.benchmarks.report.media import strip_uri, video_uri
from genkit.benchmarks.report.page import Clip, render, summary
from genkit.errors import GenkitError
from genkit.files.decode import read_header
from genkit.files.whole import replacing
from genkit.record.receipt import Receipt
from genkit.record.visible import visible, visible_lines
from genkit.request import Request
from genkit.video.raw import save_raw
from genkit.video.recipe import recipe_of
from genkit.video.video import Video, rescue_video

PAGE, NUMBERS = "report.html", "report.json"


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Layout of a comparison on disk."""

    out: Path
    plan: Plan

    def video(self, side: int, take: int) -> Path:
        """Return the path of one clip's mp4 file."""
        return self.out / "videos" / self.plan.folders[side] / f"{self.plan.takes[take].name}.mp4"

    def frames(self, side: int, take: int) -> Path:
        """Return the path of one clip's raw frames."""
        return self.out / "frames" / self.plan.folders[side] / f"{self.plan.takes[take].name}.npz"

    def scores(self, side: int, suite: str) -> Path:
        """Return the folder of one suite's run over one side."""
        return self.out / "scores" / self.plan.folders[side] / suite


def compare(
    sides: Sequence[Request], out: Path | None, *, seeds: int, prompts: Path | None, resume: bool, print_json: bool
) -> int:
    """Run a comparison and print its outcome.

    Args:
        sides: the requests, sharing prompt and seed; the first is the baseline of the others.
        out: the folder, which is created; None is a new one in ``outputs/``.
        seeds: seeds per prompt, counting up from that of the request.
        prompts: file of additional prompts, one per line; None for no more.
        resume: continue with what is in the folder.
        print_json: print ``report.json`` instead of sentences.

    Raises:
        UsageError: an argument cannot be used; raised before any work is done.
        GenkitError: a generation or a measurement failed; finished files are kept.
    """
    named, out = out, folder_for(out, resume)
    kept = read_plan(out, resume)
    plan = make_plan(sides, read_prompts(prompts), seeds, kept)
    suites = [find_suite(name) for name in ("lite", "sprites") if name == "lite" or plan.sides[0].model == "tiny"]
    similarity, notes = _similarity()
    for suite in (*suites, similarity):
        suite.check_ready()
    if named is None:
        out = claim_folder(out)
    write_plan(plan, out, kept)
    folder = Folder(out=out, plan=plan)
    try:
        _make(folder)
        comparison = _measure(folder, suites, similarity, notes)
        _write(folder, comparison)
    except KeyboardInterrupt as error:
        print(visible(f"genkit: stopped; use {_resume_flags(out)} to continue"), file=sys.stderr)
        return exit_code(error)
    print(json.dumps(as_json(comparison), indent=2) if print_json else visible_lines(_summary(out, comparison)))
    return 0


def _resume_flags(out: Path) -> str:
    """Flags that resume a comparison; without the folder a new one would be chosen."""
    return f"--out {shlex.quote(str(out))} --resume"


def _make(folder: Folder) -> None:
    """Make the missing clips, all sides of one take before the next, so that drift affects all sides equally."""
    plan = folder.plan
    order = [(side, take) for take in range(len(plan.takes)) for side in range(len(plan.sides))]
    missing = [clip for clip in order if not (folder.video(*clip).exists() and folder.frames(*clip).exists())]
    if not missing:
        return
    pipe, reported = _open(plan.sides[0]), set[str]()
    for number, (side, take) in enumerate(missing, 1):
        print(visible(f"{number}/{len(missing)} {plan.names[side]}, {plan.takes[take].name}"), file=sys.stderr)
        _clip(folder, side, take, pipe, reported)


def _open(request: Request) -> Any:
    from genkit.loading import load

    return load(**request.opening())


def _clip(folder: Folder, side: int, take: int, pipe: Any, reported: set[str]) -> None:
    from genkit.making import make

    with progress_bar() as draw:
        video = make(folder.plan.request(side, take), on_event=warning(draw, reported), pipe=pipe)
    try:
        save_raw(Video(video.uint8(), video.fps, video.request), folder.frames(side, take))
    except OSError as error:
        reason = f"{str(folder.frames(side, take))!r} could not be written: {error.strerror or error}"
        raise GenkitError(f"{reason}; {rescue_video(video, folder.plan.takes[take].name)}") from error
    video.save(folder.video(side, take))


def _similarity() -> tuple[Suite, list[str]]:
    """Metrics of similarity that can run here, and a sentence for each one that cannot."""
    suite = find_suite("similarity")
    wants = {metric.name: metric.wants() for metric in suite.metrics}
    notes = [f"{name} was not measured: it needs {wanted[0]}" for name, wanted in wants.items() if wanted]
    return suite.restrict([name for name, wanted in wants.items() if not wanted]), notes


def _measure(folder: Folder, suites: Sequence[Suite], similarity: Suite, notes: list[str]) -> Comparison:
    plan = folder.plan
    takes, sides = range(len(plan.takes)), []
    receipts = [[_receipt(folder.video(side, take)) for take in takes] for side in range(len(plan.sides))]
    for side, ran in enumerate(receipts):
        results = {suite.name: _evaluate(folder, side, suite) for suite in suites}
        if side and (reason := _difference(receipts[0], ran)):
            notes.append(f"No similarity of {plan.names[side]} to {plan.names[0]}: {reason}.")
        elif side:
            results[similarity.name] = _evaluate(folder, side, similarity)
        name, request, same = plan.names[side], plan.about(side), _same_videos(folder, side)
        sides.append(Side(name=name, request=request, receipts=tuple(ran), results=results, same_videos=same))
    return tabulate(sides, plan.takes, notes)


def _same_videos(folder: Folder, side: int) -> int:
    """Number of a side's videos that are bit-identical to the baseline's: there, the change had no effect."""
    takes = range(len(folder.plan.takes)) if side else ()
    return sum(
        np.array_equal(decode(folder.frames(0, take)).frames, decode(folder.frames(side, take)).frames)
        for take in takes
    )


def _evaluate(folder: Folder, side: int, suite: Suite) -> dict[str, Any]:
    return evaluate(
        suite,
        [folder.frames(side, take) for take in range(len(folder.plan.takes))],
        folder.scores(side, suite.name),
        resume=True,
        reference=folder.frames(0, 0).parent if suite.compares else None,
        on_clip=partial(_show_progress, f"{folder.plan.names[side]}, {suite.name}"),
    )


def _show_progress(what: str, number: int, count: int, clip: str) -> None:
    """One line of progress, on a terminal only."""
    status_line(f"{what}: {number}/{count}", last=number == count)


def _difference(base: Sequence[Receipt], other: Sequence[Receipt]) -> str | None:
    """Reason the clips of two sides cannot be compared frame by frame, or None."""
    for mine, its in zip(other, base, strict=True):
        if mine.frames != its.frames:
            return f"it has {mine.frames} frames and not {its.frames}"
        if (mine.height, mine.width) != (its.height, its.width):
            return f"it has {mine.height}x{mine.width} pixels and not {its.height}x{its.width}"
    return None


def _receipt(path: Path) -> Receipt:
    receipt = recipe_of(path, read_header(path)).receipt
    assert receipt is not None, "a generation always leaves one"
    return receipt


def _write(folder: Folder, comparison: Comparison) -> None:
    title = "Comparison: " + " · ".join(folder.plan.names)
    page = render(comparison, [list(_clips(folder, side)) for side in range(len(comparison.sides))], title)
    numbers = json.dumps(as_json(comparison), indent=1, allow_nan=False) + "\n"
    try:
        with replacing(folder.out / PAGE, folder.out / NUMBERS) as (part, beside):
            # Bytes of the command line that are not Unicode arrive as lone surrogates, which cannot be encoded.
            part.write_text(page, "utf-8", errors="replace")
            beside.write_text(numbers, "utf-8")
    except OSError as error:
        raise GenkitError(
            f"the report in {str(folder.out)!r} could not be written: {error.strerror or error}; all videos and "
            f"measurements are kept: the same command with {_resume_flags(folder.out)} writes it without repeating them"
        ) from error


def _clips(folder: Folder, side: int) -> Iterator[Clip]:
    for take in range(len(folder.plan.takes)):
        video = decode(folder.frames(side, take))
        yield Clip(
            video=video_uri(video),
            strip=strip_uri(video.frames),
            file=folder.video(side, take).relative_to(folder.out).as_posix(),
            seconds=len(video.frames) / video.fps,
            fps=video.fps,
        )


def _summary(out: Path, comparison: Comparison) -> str:
    sentences = [summary(comparison, side) for side in range(1, len(comparison.sides))]
    return "\n".join([str(out / PAGE), *sentences])
