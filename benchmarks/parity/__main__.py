"""`make parity`: the suite `vbench` compared with VBench 0.1.5, on the same tiny files with the same random weights.

    python -m genkit.benchmarks.parity .venv-parity

Two processes measure: official.py in the second environment, which runs the official functions, and this one,
which runs genkit's own suite. Then every mistake of mistakes.py is made, and the comparison has to fail. The
exit code is 1 if the two sides differ, or if a mistake goes unnoticed. Random weights show that both compute the same
function; the numbers themselves mean nothing.
"""

import argparse
import json
import math
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from genkit.benchmarks.networks.raft import torchvision_flow
from genkit.benchmarks.parity import functions as parity_functions
from genkit.benchmarks.parity import ours as parity_ours
from genkit.benchmarks.parity.clips import write_clips
from genkit.benchmarks.parity.compare import AGGREGATE, VIDEO, WITHOUT_NETWORK, Difference, compare, largest
from genkit.benchmarks.parity.mistakes import MISTAKES, Mistake
from genkit.files.whole import replacing
from genkit.record.versions import version_of

HERE = Path(__file__).parent
RESULT = HERE.parent / "results" / "parity_vbench.json"
OURS = ("genkit-video", "torch", "transformers", "numpy", "av")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything, print a table, write the result; return 0 if it passes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", type=Path, help="the second environment, with vbench 0.1.5 installed")
    parser.add_argument("--out", type=Path, default=RESULT, help="where the result is written")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="parity-") as work:
        report = check(options.environment, Path(work))
    with replacing(options.out) as (part,):
        part.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", "utf-8")
    print(*table(report), sep="\n")
    return 0 if report["passes"] else 1


def check(environment: Path, work: Path) -> dict[str, Any]:
    """Measure on both sides inside ``work`` and report."""
    start = time.perf_counter()
    write_clips(work / "clips")
    torch.save(parity_functions.draw_inputs(), work / "inputs.pt")
    python = environment / "bin" / "python"
    # -I: the official side must see neither this folder, whose file names are common words, nor PYTHONPATH.
    subprocess.run([python, "-I", HERE / "official.py", work], check=True)
    official = json.loads((work / "official.json").read_text("utf-8"))
    _borrow(python)
    honest = parity_ours.measure(work, work / "honest")
    fixed = parity_ours.measure(work, work / "honest", "fixed")
    mistakes = [_make(mistake, official["dimensions"], work) for mistake in MISTAKES]
    functions = _functions(work)
    differences = compare(official["dimensions"], honest, parity_ours.DIMENSIONS)
    right = all(item.passes for item in differences) and all(item["passes"] for item in functions.values())
    return {
        "passes": right and all(item["caught"] for item in mistakes),
        "weights": "random, shared by both sides",
        "device": "cpu",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": {"official": official["versions"], "genkit": {name: version_of(name) for name in OURS}},
        "dimensions": {name: _dimension(name, differences, official, fixed) for name in parity_ours.DIMENSIONS},
        "functions": functions,
        "mistakes": mistakes,
        "seconds": round(time.perf_counter() - start),
    }


def table(report: dict[str, Any]) -> list[str]:
    """Return the lines to print."""
    return [
        *_dimension_lines(report["dimensions"]),
        "",
        f"{'function on random inputs':48}{'difference':>11}",
        *(f"{name:48}{_size(of['largest'])}  {_word(of['passes'])}" for name, of in report["functions"].items()),
        "",
        f"{'mistake made on purpose':60}{'difference':>11}",
        *(line for mistake in report["mistakes"] for line in _mistake_lines(mistake)),
        "",
        f"parity with vbench {report['versions']['official']['vbench']}: {_word(report['passes'])}",
    ]


def _dimension_lines(dimensions: dict[str, Any]) -> list[str]:
    lines = [f"{'largest difference':24}{'by video':>11}{'aggregate':>11}{'vbench-0.1.5':>15}{'fixed':>15}"]
    for name, found in dimensions.items():
        sizes = _size(found["by_video"]) + _size(found["aggregate"])
        lines.append(f"{name:24}{sizes}{found['official']:15.9f}{found['fixed']:15.9f}  {_word(found['passes'])}")
    return lines + [
        f"fixed {name}: {found['fixed_effect']}" for name, found in dimensions.items() if found["fixed_effect"]
    ]


def _mistake_lines(mistake: dict[str, Any]) -> list[str]:
    word = "caught" if mistake["caught"] else "NOT CAUGHT"
    return [f"{mistake['about']:60}{_size(size)}  {word} in {name}" for name, size in mistake["largest"].items()]


def _borrow(python: Path) -> None:
    """Let this process find vbench and torchvision in the second environment, after its own packages."""
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    sys.path.append(subprocess.check_output([python, "-I", "-c", asked], text=True).strip())
    torchvision_flow()  # before transformers imports a torchvision compiled for another build of torch


def _make(mistake: Mistake, official: dict[str, Any], work: Path) -> dict[str, Any]:
    wrong = parity_ours.measure_with(mistake, work, work / "honest", work / "mistake")
    differences = compare(official, wrong, mistake.dimensions)
    failed = {item.dimension for item in differences if not item.passes}
    sizes = {
        name: max(largest(differences, name, aggregate=both) for both in (False, True)) for name in mistake.dimensions
    }
    return {
        "about": mistake.about,
        "caught": failed == set(mistake.dimensions),
        "largest": {name: _json(size) for name, size in sizes.items()},
    }


def _functions(work: Path) -> dict[str, Any]:
    ours = parity_functions.outputs(torch.load(work / "inputs.pt", weights_only=True))
    found = parity_functions.worst(torch.load(work / "outputs.pt", weights_only=True), ours)
    return {name: {"largest": _json(size), "passes": parity_functions.passes(size)} for name, size in found.items()}


def _dimension(
    name: str, differences: list[Difference], official: dict[str, Any], fixed: dict[str, Any]
) -> dict[str, Any]:
    both = official["dimensions"][name]
    return {
        "passes": all(item.passes for item in differences if item.dimension == name),
        "by_video": _json(largest(differences, name, aggregate=False)),
        "by_video_allowed": WITHOUT_NETWORK.get(name, VIDEO),
        "aggregate": _json(largest(differences, name, aggregate=True)),
        "aggregate_allowed": WITHOUT_NETWORK.get(name, AGGREGATE),
        "official": both["aggregate"],
        "official_videos": both["videos"],
        "official_seconds": both["seconds"],
        "fixed": fixed[name]["aggregate"],
        "fixed_effect": fixed[name]["effect"],
    }


def _json(size: float) -> float | str:
    """Return a size for JSON, which has no infinity."""
    return size if math.isfinite(size) else "unequal"


def _size(size: float | str) -> str:
    return f"{size:>11}" if isinstance(size, str) else f"{size:11.1e}"


def _word(passes: bool) -> str:
    return "PASS" if passes else "FAIL"


if __name__ == "__main__":
    raise SystemExit(main())
