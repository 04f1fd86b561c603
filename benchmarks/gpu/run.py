"""`genkit bench gpu`: all measurements of one GPU, in parts that can be run in several calls.

A part that was finished on this GPU with these versions is not run again, and none is started after ``minutes``: the
same command continues where it stopped. Results go to one file for each GPU, a line at a time; goals and launch numbers
are computed from the file, so they cover all calls.
"""

import itertools
import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from genkit.benchmarks.evaluate.ledger import Ledger, key_of
from genkit.benchmarks.gpu.goals import goal_lines, latest
from genkit.benchmarks.speed.attention import AttentionConfig, attention
from genkit.benchmarks.speed.kernels import KernelConfig, kernels
from genkit.benchmarks.speed.step import StepConfig, step
from genkit.benchmarks.speed.tuning import TuneConfig, launch_table, tune
from genkit.benchmarks.timing.baselines import reason_of
from genkit.benchmarks.timing.gate import require_correct
from genkit.benchmarks.timing.machine import DTYPES, choose_device, facts
from genkit.benchmarks.timing.real_models import MODELS
from genkit.benchmarks.timing.results import Row, Say, Tell
from genkit.errors import UsageError, nearest
from genkit.files.whole import replacing

Run = Callable[[Tell, Say], None]


@dataclass(frozen=True, kw_only=True)
class GpuConfig:
    """Parts to run, and where results go."""

    parts: tuple[str, ...] = ()
    """Names of parts, or their first words, such as ``attention``; empty is all."""
    out: Path = Path("benchmarks/results")
    """Folder of the results."""
    minutes: float = 5.0
    """Minutes after which no further part is started; a part takes one to four on a large GPU."""
    again: bool = False
    """True to run finished parts again; their earlier lines stay."""
    device: str | None = "cuda"
    """``cpu`` rehearses everything on scaled-down models."""


def gpu(config: GpuConfig, say: Say) -> bool:
    """Run the remaining parts; return True if all of them are finished now.

    Raises:
        UsageError: no GPU, or an unknown part.
    """
    about = facts(choose_device(config.device))
    asked, begun = _select(config), time.monotonic()
    with Ledger(config.out / f"{file_name(about)}.jsonl") as ledger:
        finished = set() if config.again else _find_finished(ledger, about)
        for name, run in asked.items():
            if name in finished:
                continue
            if time.monotonic() - begun > 60 * config.minutes:
                break
            say(f"\n== {name}")
            if _run_part(name, run, ledger, about, say):
                finished.add(name)
        rows = latest(ledger.rows.values())
    _write_launch_table(config.out / f"{file_name(about)}_launch.json", rows)
    say("\n" + "\n".join(goal_lines(rows)))
    left = [name for name in asked if name not in finished]
    say(f"left to run with the same command: {', '.join(left)}" if left else f"all {len(asked)} parts are finished")
    return not left


def parts(device: str | None) -> dict[str, Run]:
    """Return all parts by name, in the order in which they run."""
    found: dict[str, Run] = {}
    for name in DTYPES:
        found[f"check {name}"] = _check(name, device)
    for name in MODELS:
        found[f"attention {name}"] = _attention(name, device)
    for name in ("wan-14b-720p", "hunyuan-720p"):
        found[f"step {name}"] = _step(name, device)
    for width, dtype, block in itertools.product((128, 64), ("bfloat16", "float16"), (128, 64)):
        case = TuneConfig(operators=("block_sparse",), widths=(width,), dtypes=(dtype,), blocks=(block,), device=device)
        found[f"tune {width} {dtype} {block}"] = _tune(case)
    for name in ("threshold", "block_mass", "frame_table", "pool", "permute"):
        found[f"tune {name}"] = _tune(TuneConfig(operators=(name,), blocks=(64,), device=device))
    for name in ("wan-1.3b-480p", "ltx"):
        found[f"kernel {name}"] = _kernel(name, device)
    return found


def _check(dtype: str, device: str | None) -> Run:
    def run(tell: Tell, say: Say) -> None:
        place = choose_device(device)
        with torch.no_grad():
            impl = "triton" if place.type == "cuda" else "reference"
            for verdict in require_correct(impl, DTYPES[dtype], (64, 128), place, blocks=(64, 128)):
                tell({"bench": "check", **verdict, **facts(place)})
        say(f"every kernel is correct in {dtype}: heads of 64 and 128, blocks of 64 (block_sparse: also 128)")

    return run


def _attention(name: str, device: str | None) -> Run:
    return lambda tell, say: attention(AttentionConfig(shapes=(name,), device=device), tell, say)


def _step(name: str, device: str | None) -> Run:
    return lambda tell, say: step(StepConfig(models=(name,), device=device), tell, say)


def _tune(config: TuneConfig) -> Run:
    return lambda tell, say: tune(config, tell, say)


def _kernel(name: str, device: str | None) -> Run:
    return lambda tell, say: kernels(KernelConfig(shape=name, device=device), tell, say)


def _select(config: GpuConfig) -> dict[str, Run]:
    known = parts(config.device)
    for word in config.parts:
        if not any(_matches(word, name) for name in known):
            raise UsageError(f"there is no part called {word!r}; {nearest(word, known)}")
    return {
        name: run for name, run in known.items() if not config.parts or any(_matches(x, name) for x in config.parts)
    }


def _matches(word: str, name: str) -> bool:
    return name == word or name.startswith(f"{word} ")


def _run_part(name: str, run: Run, ledger: Ledger, about: Row, say: Say) -> bool:
    """Run one part; a failure becomes a line of the result and does not stop the other parts."""
    begun, count = time.time_ns(), itertools.count()

    def tell(row: Row) -> None:
        ledger.add(key_of(name, begun, next(count)), {"part": name, "begun": begun} | row)

    try:
        run(tell, say)
    except UsageError:
        raise
    except Exception as error:  # a wrong kernel, which is not timed; drivers and compilers raise anything else
        reason = reason_of(error)
        tell({"bench": "failed", "reason": reason, **about})
        say(f"{name} failed: {reason}")
        return False
    tell({"bench": "finished", "seconds": (time.time_ns() - begun) / 1e9, **about})
    return True


def _find_finished(ledger: Ledger, about: Row) -> set[str]:
    """Return the parts that this GPU finished with these versions."""
    same = ("device_name", "versions", "python")
    return {
        row["part"]
        for row in ledger.rows.values()
        if row["bench"] == "finished" and all(row[key] == about[key] for key in same)
    }


def file_name(about: Row) -> str:
    """Return ``gpu_nvidia-h200`` and the like."""
    return "gpu_" + re.sub(r"[^a-z0-9]+", "-", about["device_name"].lower()).strip("-")


def _write_launch_table(path: Path, rows: Iterable[Row]) -> None:
    table = launch_table(row for row in rows if row["bench"] == "tune")
    if table:
        with replacing(path) as (part,):
            part.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
