"""One evaluation: a suite over videos, into a run folder; it can be killed at any time and resumed.

The folder contains ``ledger.jsonl``, the measurements, each named by a hash of the video's bytes and of everything
else that determines it; and ``results.json``, which follows from the ledger and the list of videos alone. So the order
and number of resumes do not matter, and a changed video or metric is measured again without touching the rest.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from genkit.benchmarks.evaluate.clips import DECODE, DECODE_TAGGED, Clip, decode, decode_tagged, find
from genkit.benchmarks.evaluate.ledger import Ledger, Row, canonical, key_of
from genkit.benchmarks.evaluate.metric import Metric, Sample, Suite
from genkit.benchmarks.evaluate.stats import Stat
from genkit.errors import GenkitError, UsageError
from genkit.files.decode import TooLittleMemory
from genkit.files.whole import replacing
from genkit.video.video import Video

SCHEMA_VERSION = 1
LEDGER, RESULTS = "ledger.jsonl", "results.json"

OnClip = Callable[[int, int, str], None]
"""Called before each video with its number from 1, the number of videos, and its name."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A video of an evaluation with its reference."""

    clip: Clip
    reference: Clip | None = None
    """None if the suite takes none, or there is none for this video."""

    def key(self, metric: Metric, suite: Suite) -> str:
        """Return the key of a measurement; it includes the prompt if the prompt affects the numbers."""
        reference = self.reference.identity if self.reference else None
        prompt = self.clip.request.get("prompt") if suite.prompted else None
        how = DECODE_TAGGED if suite.colours == "usual" else DECODE
        return key_of(self.clip.identity, reference, prompt, how, metric.identity())


def evaluate(
    suite: Suite,
    paths: Iterable[Path],
    out: Path,
    *,
    resume: bool = False,
    reference: Path | None = None,
    on_clip: OnClip | None = None,
) -> dict[str, Any]:
    """Measure videos and write ``results.json``.

    Args:
        suite: from :func:`genkit.benchmarks.evaluate.registry.find_suite`.
        paths: video files, and folders of them.
        out: the run folder; it is created.
        resume: continue with the ledger in that folder; finished measurements are not computed again.
        reference: for suites that compare: a folder (or file) whose videos have the same names; suffixes may differ.
        on_clip: called before every video.

    Returns:
        The contents of the file: ``metrics`` by name with value and interval, and ``videos`` by name with every
        measurement or the reason it is missing.

    Raises:
        UsageError: an argument is wrong, or the folder contains a run and ``resume`` was not given.
        GenkitError: a package is missing, the ledger is damaged, or the disk is full.
    """
    ledger_path = out / LEDGER
    if ledger_path.exists() and not resume:
        raise UsageError(f"{str(out)!r} already contains an evaluation; use --resume to continue, or another folder")
    if (out / RESULTS).exists() and not ledger_path.exists():
        raise UsageError(f"{str(out / RESULTS)!r} already exists and is not of an evaluation; use another folder")
    pairs = _pairs(suite, find(paths), reference)
    suite.check_ready()
    with Ledger(ledger_path) as ledger:
        for number, pair in enumerate(pairs, 1):
            if on_clip:
                on_clip(number, len(pairs), pair.clip.name)
            _measure(suite, pair, ledger)
        results = _results(suite, pairs, ledger.rows)
        _write(results, out / RESULTS)
    return results


def _write(results: dict[str, Any], path: Path) -> None:
    try:
        with replacing(path) as (part,):
            part.write_text(canonical(results) + "\n", "utf-8")
    except OSError as error:
        raise GenkitError(
            f"{str(path)!r} could not be written: {error.strerror or error}; every measurement is kept: run the same "
            "command with --resume to write it without measuring again"
        ) from error


def failures(results: dict[str, Any]) -> dict[str, str]:
    """Return the first reason by video, for those that could not be measured completely."""
    reasons = {}
    for video in results["videos"]:
        errors = [row["error"] for row in (video, *video["metrics"].values()) if "error" in row]
        if errors:
            reasons[video["name"]] = errors[0]
    return reasons


def _pairs(suite: Suite, clips: list[Clip], reference: Path | None) -> list[Pair]:
    if suite.compares != (reference is not None):
        raise UsageError(
            f"suite {suite.name!r} compares; name the folder of reference videos with --reference"
            if suite.compares
            else f"suite {suite.name!r} takes no reference; leave --reference out"
        )
    if reference is None:
        return [Pair(clip=clip) for clip in clips]
    others = find([reference])
    return [Pair(clip=clip, reference=_reference(clip, others)) for clip in clips]


def _reference(clip: Clip, others: list[Clip]) -> Clip | None:
    """Return the reference of the same name, else the one whose name differs only in the suffix."""
    same = [other for other in others if other.name == clip.name]
    alike = same or [other for other in others if _stem(other) == _stem(clip)]
    if len(alike) > 1:
        raise UsageError(
            f"{clip.name!r} has two references, {alike[0].name!r} and {alike[1].name!r}; "
            "remove one, or give one the name of the video"
        )
    return alike[0] if alike else None


def _stem(clip: Clip) -> str:
    return clip.name.removesuffix(clip.path.suffix)


def _measure(suite: Suite, pair: Pair, ledger: Ledger) -> None:
    """Add the missing rows of one video; a video that is finished or known to be bad is not decoded."""
    missing = {key: m for m in suite.metrics if (key := pair.key(m, suite)) not in ledger.rows}
    if not missing or _failure(pair, ledger.rows, suite.compares):
        return
    video = _decode(pair.clip, suite, ledger)
    other = _decode(pair.reference, suite, ledger) if pair.reference else None
    if video is None or (pair.reference and other is None):
        return
    prompt = pair.clip.request.get("prompt")
    sample = Sample(video, prompt if isinstance(prompt, str) else None, other)
    for key, metric in missing.items():
        metric.prepare()
        try:
            row = _row(metric, sample)
        except MemoryError:
            ledger.note(key, {"metric": metric.name, "error": "not enough memory to measure it"})
        else:
            ledger.add(key, row)


def _row(metric: Metric, sample: Sample) -> Row:
    try:
        return {"metric": metric.name} | asdict(metric.measure(sample))
    except GenkitError as error:
        return {"metric": metric.name, "error": str(error)}


def _decode(clip: Clip, suite: Suite, ledger: Ledger) -> Video | None:
    """Return the frames of a video; None, and a row with the reason, if there are none."""
    try:
        return decode_tagged(clip.path) if suite.colours == "usual" else decode(clip.path)
    except GenkitError as error:
        # The row belongs to the content, which may also exist under other names.
        reason = str(error).replace(repr(str(clip.path)), "the file")
        if (key := _decode_key(clip)) not in ledger.rows:
            write = ledger.note if isinstance(error, TooLittleMemory) else ledger.add
            write(key, {"error": reason})
        return None


def _decode_key(clip: Clip) -> str:
    return key_of(clip.identity, DECODE)


def _failure(pair: Pair, rows: dict[str, Row], compares: bool) -> str | None:
    """Return the known reason for which nothing can be measured, or None."""
    if row := rows.get(_decode_key(pair.clip)):
        return row["error"]
    if not compares:
        return None
    if pair.reference is None:
        return "there is no reference of the same name"
    row = rows.get(_decode_key(pair.reference))
    return f"its reference: {row['error']}" if row else None


def _results(suite: Suite, pairs: list[Pair], rows: dict[str, Row]) -> dict[str, Any]:
    videos = [_video(suite, pair, rows) for pair in pairs]
    metrics = {metric.name: _metric(metric, videos) for metric in suite.metrics}
    about = {"schema_version": SCHEMA_VERSION, "suite": suite.name, "mode": suite.mode}
    return about | {"metrics": metrics, "videos": videos}


def _video(suite: Suite, pair: Pair, rows: dict[str, Row]) -> dict[str, Any]:
    about: dict[str, Any] = {"name": pair.clip.name, "sha256": pair.clip.sha256, "prompt": pair.clip.cluster}
    about |= {"seed": pair.clip.request.get("seed"), "reference": pair.reference and pair.reference.sha256}
    if reason := _failure(pair, rows, suite.compares):
        return about | {"error": reason, "metrics": {}}
    prompt = pair.clip.request.get("prompt")
    prompt = prompt if isinstance(prompt, str) else None
    keys = [(metric, pair.key(metric, suite)) for metric in suite.metrics]
    return about | {"metrics": {metric.name: _report(metric, key, rows[key], prompt) for metric, key in keys}}


def _report(metric: Metric, key: str, row: Row, prompt: str | None) -> Row:
    if "error" in row:
        return {"error": str(row["error"])}
    try:
        found = Stat(row["sum"], row["weight"], tuple(row["curve"]))
    except (KeyError, TypeError, UsageError) as error:
        raise GenkitError(
            f"the line of {LEDGER} with the key {key} is damaged; remove that line and resume: only its row is "
            "computed again"
        ) from error
    stat = metric.report(found)
    ceiling = metric.ceiling(prompt, stat)
    limit = {} if ceiling is None else {"ceiling": ceiling}
    return {"sum": stat.sum, "weight": stat.weight, "curve": list(stat.curve)} | limit


def samples_of(videos: Iterable[dict[str, Any]], metric: str) -> dict[str, list[Stat]]:
    """Return the measurements of one metric by prompt, from the ``videos`` of results."""
    samples: dict[str, list[Stat]] = {}
    for video in videos:
        row = video["metrics"].get(metric, {})
        if row.get("weight"):
            samples.setdefault(video["prompt"], []).append(Stat(row["sum"], row["weight"], tuple(row["curve"])))
    return samples


def ceiling_of(videos: Iterable[dict[str, Any]], metric: str) -> float | None:
    """Return the mean ceiling of one metric over the measured videos; None if it has none."""
    rows = [video["metrics"].get(metric, {}) for video in videos]
    found = [row["ceiling"] for row in rows if row.get("weight") and "ceiling" in row]
    return fmean(found) if found else None


def _reduction(metric: Metric) -> dict[str, Any]:
    """Return the reduction as JSON values, which have no tuples."""
    bounds = metric.reduction.bounds
    return asdict(metric.reduction) | {"bounds": bounds and list(bounds)}


def _metric(metric: Metric, videos: list[dict[str, Any]]) -> dict[str, Any]:
    samples = samples_of(videos, metric.name)
    found = asdict(metric.reduce(samples)) if samples else {"value": None, "low": None, "high": None}
    about = {"about": metric.about, "better": metric.better, "role": metric.role, "identity": metric.identity()}
    about |= {"reduction": _reduction(metric), "mode_effect": metric.mode_effect}
    stamp: dict[str, Any] = {"weights": "random"} if metric.random_weights else {}
    if (ceiling := ceiling_of(videos, metric.name)) is not None:
        stamp["ceiling"] = ceiling
    measured = sum(map(len, samples.values()))
    return about | stamp | {"prompts": 0} | found | {"videos": measured, "missing": len(videos) - measured}
