"""Commands `genkit eval ...`: measure videos, compare runs, report what is missing.

Tables and JSON go to standard output, bad videos and progress to standard error. Exit codes: 0 done, 1 a video could
not be measured completely or something is missing, 2 invalid command, 128 plus the signal number if stopped by one.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from genkit.apps.terminal.progress import status_line
from genkit.apps.terminal.signals import exit_code
from genkit.errors import UsageError
from genkit.record.visible import visible
from genkit_video import install_extra

if TYPE_CHECKING:
    from genkit.benchmarks.evaluate.comparison import Difference

app = App(name="eval", help="Measure videos, and compare methods with intervals.")

Json = Annotated[bool, Parameter(name="--json", show_default=False, help="Print JSON for programs.")]


@app.command
def run(
    *videos: Annotated[Path, Parameter(help="Video files, raw frames (.npz), or folders of them.")],
    suite: Annotated[str, Parameter(help="Metrics to compute: lite, similarity, sprites or vbench.")],
    out: Annotated[Path, Parameter(help="Folder for this run: ledger and results.")],
    resume: Annotated[bool, Parameter(show_default=False, help="Continue the run in that folder.")] = False,
    reference: Annotated[Path | None, Parameter(help="Folder of reference videos with the same names.")] = None,
    only: Annotated[list[str] | None, Parameter(help="One metric of the suite; repeatable.")] = None,
    mode: Annotated[str | None, Parameter(help="Formulas of vbench: vbench-0.1.5 (default) or fixed.")] = None,
    allow_random: Annotated[
        bool,
        Parameter(negative="", show_default=False, help="Draw missing weights at random; scores are meaningless."),
    ] = False,
    as_json: Json = False,
) -> int:
    """Measure videos; --resume continues a stopped run."""
    from genkit.benchmarks.evaluate.registry import find_suite
    from genkit.benchmarks.evaluate.run import evaluate, failures

    if not videos:
        raise UsageError("no video given; name files or a folder")
    try:
        chosen = find_suite(suite, mode=mode, allow_random=allow_random, only=only or ())
        results = evaluate(chosen, videos, out, resume=resume, reference=reference, on_clip=_show_progress)
    except KeyboardInterrupt as error:
        print("genkit: stopped; use --resume to continue", file=sys.stderr)
        return exit_code(error)
    print(json.dumps(results, indent=2) if as_json else _results_table(results))
    bad = failures(results)
    for name, reason in bad.items():
        print(visible(f"{name}: {reason}"), file=sys.stderr)
    if bad:
        print(f"genkit: {len(bad)} of {len(results['videos'])} videos could not be measured fully", file=sys.stderr)
    return int(bool(bad))


@app.command
def compare(
    *runs: Annotated[Path, Parameter(help="Folders of runs; the first is the baseline.")], as_json: Json = False
) -> int:
    """Compare runs of one suite on the prompts they share."""
    from genkit.benchmarks.evaluate.comparison import compare as compare_runs

    found = compare_runs(list(runs))
    if as_json:
        print(json.dumps([dataclasses.asdict(row) | {"verdict": row.verdict} for row in found], indent=2))
        return 0
    head = ("metric", "better", "run", "base", "this", "difference", "95 % interval", "prompts", "verdict")
    body = [
        (_stamp(row.metric, row.random_weights), row.better, row.other)
        + (_of(row.base_value, row.base_ceiling), _of(row.value, row.ceiling))
        + (_number(row.difference.value), _interval(row.difference.low, row.difference.high))
        + (str(row.difference.prompts), row.verdict)
        for row in found
    ]
    print(f"base: {visible(found[0].base)}\n{_table([head, *body])}")
    print(_correction_note(found), file=sys.stderr)
    return 0


def _correction_note(found: Sequence["Difference"]) -> str:
    """Sentence that explains the correction behind the verdicts."""
    from genkit.benchmarks.evaluate.sign_flips import LEVEL, MIN_PAIRS

    measures = len({row.metric for row in found})
    return (
        f"genkit: the verdicts of a run are corrected for its {measures} measures (at most {LEVEL:.0%} for any false "
        f"one) and need {MIN_PAIRS} prompts; each interval is that of its measure alone"
    )


@app.command
def doctor(
    *, suite: Annotated[str | None, Parameter(help="One suite; default: all.")] = None, as_json: Json = False
) -> int:
    """Report for each metric whether it can run here, or exactly what is missing.

    The exit code is 1 if a package of the extra `eval` is missing; for a single suite also if weights or packages are
    missing that only the user can provide.
    """
    from genkit.benchmarks.evaluate.registry import SUITES, find_suite

    rows: list[dict[str, Any]] = [
        {"metric": metric.name, "missing": [n for n in metric.packages if n in chosen.missing()], "wants": wants}
        for chosen in map(find_suite, [suite] if suite else SUITES)
        for metric in chosen.metrics
        for wants in [metric.wants()]
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        print(_table([(name, line) for row in rows for name, line in _status_lines(row)]))
    return int(any(row["missing"] or (suite and row["wants"]) for row in rows))


def _status_lines(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Lines of one metric: ready, or one per missing item."""
    missing = row["missing"]
    lines = [f"missing {', '.join(missing)}: {install_extra('eval')}"] if missing else []
    lines += [f"missing {want}" for want in row["wants"]]
    names = [row["metric"], *[""] * len(lines)]
    return list(zip(names, lines or ["ready"], strict=False))


def _show_progress(number: int, count: int, name: str) -> None:
    """Show one line of progress, on a terminal only."""
    status_line(f"{number}/{count} {name}", last=number == count)


def _results_table(results: dict[str, Any]) -> str:
    has_ceiling = any("ceiling" in row for row in results["metrics"].values())
    head = ("metric", "value", *(("ceiling",) if has_ceiling else ()), "95 % interval", "better", "videos", "prompts")
    head = (*head, "missing")
    metrics = results["metrics"]
    body = [
        (_stamp(name, row.get("weights") == "random"), _number(row["value"]))
        + ((_number(row.get("ceiling")),) if has_ceiling else ())
        + (_interval(row["low"], row["high"]), row["better"])
        + (str(row["videos"]), str(row["prompts"]), str(row["missing"]))
        for name, row in metrics.items()
    ]
    mode = [f"mode: {results['mode']}"] if results["mode"] else []
    effects = [f"  {name}: {row['mode_effect']}" for name, row in metrics.items() if row["mode_effect"]]
    return "\n".join([_table([head, *body]), *mode, *effects])


def _stamp(name: str, random: bool) -> str:
    return f"{name} (RANDOM WEIGHTS)" if random else name


def _of(value: float, ceiling: float | None) -> str:
    """A value with the score of a perfect video, where that is known."""
    return _number(value) if ceiling is None else f"{_number(value)} of {_number(ceiling)}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None else f"{_number(low)} .. {_number(high)}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Format rows as aligned columns."""
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
