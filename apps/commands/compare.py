"""`genkit compare`: make the same videos in several ways, measure them, write one report.

The folder holds ``plan.json``; under ``videos/`` and ``frames/`` the clips of every side, as mp4 files and as raw
frames; under ``scores/`` the evaluations; and at last ``report.json`` and ``report.html``. All of it is written whole
or not at all, so a comparison that was stopped goes on with what is finished.
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

from genkit.apps.commands.compare_plan import Plan, claimed, folder_for, keep, opened, planned, prompts_of
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
from genkit.video.video import Video, kept_video

PAGE, NUMBERS = "report.html", "report.json"


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Where everything of a comparison lies."""

    out: Path
    plan: Plan

    def video(self, side: int, take: int) -> Path:
        """The mp4 file of one clip."""
        return self.out / "videos" / self.plan.folders[side] / f"{self.plan.takes[take].name}.mp4"

    def frames(self, side: int, take: int) -> Path:
        """The raw frames of one clip."""
        return self.out / "frames" / self.plan.folders[side] / f"{self.plan.takes[take].name}.npz"

    def scores(self, side: int, suite: str) -> Path:
        """The run of one suite over one side."""
        return self.out / "scores" / self.plan.folders[side] / suite


def compare(
    sides: Sequence[Request], out: Path | None, *, seeds: int, prompts: Path | None, resume: bool, print_json: bool
) -> int:
    """Run a comparison and print its outcome.

    Args:
        sides: the requests, the first is what the others are held against; they share prompt and seed.
        out: the folder, which is made; None is a new one in ``outputs/``.
        seeds: how many seeds for each prompt, counted up from that of the request.
        prompts: a file with further prompts, one a line; None for no more.
        resume: go on with what lies in the folder.
        print_json: print ``report.json`` instead of sentences.

    Raises:
        UsageError: something that was asked for cannot be; told before any work is done.
        GenkitError: a generation or a measurement failed; what is finished stays.
    """
    named, out = out, folder_for(out, resume)
    kept = opened(out, resume)
    plan = planned(sides, prompts_of(prompts), seeds, kept)
    suites = [find_suite(name) for name in ("lite", "sprites") if name == "lite" or plan.sides[0].model == "tiny"]
    similarity, notes = _similarity()
    for suite in (*suites, similarity):
        suite.check_ready()
    if named is None:
        out = claimed(out)
    keep(plan, out, kept)
    folder = Folder(out=out, plan=plan)
    try:
        _make(folder)
        comparison = _measured(folder, suites, similarity, notes)
        _write(folder, comparison)
    except KeyboardInterrupt as error:
        print(visible(f"genkit: stopped; go on by the same command with {_again(out)}"), file=sys.stderr)
        return exit_code(error)
    print(json.dumps(as_json(comparison), indent=2) if print_json else visible_lines(_told(out, comparison)))
    return 0


def _again(out: Path) -> str:
    """What goes on with a comparison; the folder is said too, since without it a new one would be named."""
    return f"--out {shlex.quote(str(out))} --resume"


def _make(folder: Folder) -> None:
    """Make the clips that are missing, side after side of each take, so that what drifts drifts for all alike."""
    plan = folder.plan
    order = [(side, take) for take in range(len(plan.takes)) for side in range(len(plan.sides))]
    missing = [clip for clip in order if not (folder.video(*clip).exists() and folder.frames(*clip).exists())]
    if not missing:
        return
    pipe, told = _open(plan.sides[0]), set[str]()
    for number, (side, take) in enumerate(missing, 1):
        print(visible(f"{number}/{len(missing)} {plan.names[side]}, {plan.takes[take].name}"), file=sys.stderr)
        _clip(folder, side, take, pipe, told)


def _open(request: Request) -> Any:
    from genkit.loading import load

    return load(
        request.model,
        dtype=request.dtype,
        device=request.device,
        offload=request.offload,
        attention_backend=request.attention_backend,
    )


def _clip(folder: Folder, side: int, take: int, pipe: Any, told: set[str]) -> None:
    from genkit.making import make

    with progress_bar() as draw:
        video = make(folder.plan.request(side, take), on_event=warning(draw, told), pipe=pipe)
    try:
        save_raw(Video(video.uint8(), video.fps, video.request), folder.frames(side, take))
    except OSError as error:
        reason = f"{str(folder.frames(side, take))!r} could not be written: {error.strerror or error}"
        raise GenkitError(f"{reason}; {kept_video(video, folder.plan.takes[take].name)}") from error
    video.save(folder.video(side, take))


def _similarity() -> tuple[Suite, list[str]]:
    """The metrics of similarity that can run here, and what is missing for the others, as sentences."""
    suite = find_suite("similarity")
    wants = {metric.name: metric.wants() for metric in suite.metrics}
    notes = [f"{name} was not measured, it needs {wanted[0]}" for name, wanted in wants.items() if wanted]
    return suite.restrict([name for name, wanted in wants.items() if not wanted]), notes


def _measured(folder: Folder, suites: Sequence[Suite], similarity: Suite, notes: list[str]) -> Comparison:
    plan = folder.plan
    takes, sides = range(len(plan.takes)), []
    receipts = [[_receipt(folder.video(side, take)) for take in takes] for side in range(len(plan.sides))]
    for side, ran in enumerate(receipts):
        results = {suite.name: _evaluated(folder, side, suite) for suite in suites}
        if side and (reason := _unlike(receipts[0], ran)):
            notes.append(f"No similarity of {plan.names[side]} to {plan.names[0]}: {reason}.")
        elif side:
            results[similarity.name] = _evaluated(folder, side, similarity)
        name, request, same = plan.names[side], plan.about(side), _same_videos(folder, side)
        sides.append(Side(name=name, request=request, receipts=tuple(ran), results=results, same_videos=same))
    return tabulate(sides, plan.takes, notes)


def _same_videos(folder: Folder, side: int) -> int:
    """How many videos of a side are those of the first to the bit: whatever it was to change was not changed there."""
    takes = range(len(folder.plan.takes)) if side else ()
    return sum(
        np.array_equal(decode(folder.frames(0, take)).frames, decode(folder.frames(side, take)).frames)
        for take in takes
    )


def _evaluated(folder: Folder, side: int, suite: Suite) -> dict[str, Any]:
    return evaluate(
        suite,
        [folder.frames(side, take) for take in range(len(folder.plan.takes))],
        folder.scores(side, suite.name),
        resume=True,
        reference=folder.frames(0, 0).parent if suite.compares else None,
        on_clip=partial(_tell, f"{folder.plan.names[side]}, {suite.name}"),
    )


def _tell(what: str, number: int, count: int, clip: str) -> None:
    """One line of progress, on a terminal only."""
    status_line(f"{what}: {number}/{count}", last=number == count)


def _unlike(base: Sequence[Receipt], other: Sequence[Receipt]) -> str | None:
    """Why the clips of two sides cannot be laid over one another."""
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
            # Bytes of the command line that are not Unicode arrive as lone surrogates, which no file can hold.
            part.write_text(page, "utf-8", errors="replace")
            beside.write_text(numbers, "utf-8")
    except OSError as error:
        raise GenkitError(
            f"the report in {str(folder.out)!r} could not be written: {error.strerror or error}; all videos and "
            f"measurements are kept: the same command with {_again(folder.out)} writes it and makes nothing again"
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


def _told(out: Path, comparison: Comparison) -> str:
    sentences = [summary(comparison, side) for side in range(1, len(comparison.sides))]
    return "\n".join([str(out / PAGE), *sentences])
