"""What makes the embedded model longer: four times its length, in several ways, and the oracle's verdict on each.

    python -m genkit.benchmarks.tiny.longer --out benchmarks/results/longer_tiny.jsonl --docs docs/longer.md

Every prompt has one thing that goes somewhere. A row of the file is one video. The order is by prompt, and a stopped
run is continued by the same command.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from genkit.benchmarks.evaluate.ledger import Ledger, Row, key_of
from genkit.benchmarks.evaluate.section import insert_section
from genkit.benchmarks.evaluate.stats import UNIT, Stat, estimate
from genkit.benchmarks.tiny.embedded import open_embedded
from genkit.errors import GenkitError
from genkit.plugins import catalogue
from genkit.tiny.oracle import read, score
from genkit.tiny.tally import held_out_scenes
from genkit.tiny.verdict import AT_REST, verdict
from genkit.tiny.world import NATIVE_FRAMES, Scene, caption
from genkit.video.recipe import SCHEMA_VERSION

FRAMES = 4 * (NATIVE_FRAMES - 1) + 1
WAYS = {
    "plain": (),
    "position-interpolation": ("position-interpolation",),
    "position-interpolation + radial": ("position-interpolation", "radial:density=0.5"),
    "riflex": ("riflex",),
    "freenoise": ("freenoise",),
    "windows": ("windows",),
}
"""Plug-ins of each way, in their textual form."""
BEGIN, END = "<!-- longer_tiny: begin -->", "<!-- longer_tiny: end -->"


def moving_scenes(count: int) -> list[Scene]:
    """Return the first ``count`` held-out scenes with one thing that goes somewhere, grows or shrinks."""
    found = (scene for scene in held_out_scenes(20 * count, 0) if len(scene.things) == 1)
    return [scene for scene in found if scene.things[0].motion not in AT_REST][:count]


def run(pipe: Any, count: int, ledger: Ledger, about: Row, say: Callable[[str], None]) -> None:
    """Make and judge every video that the ledger does not contain yet."""
    for number, scene in enumerate(moving_scenes(count)):
        for way, plugins in WAYS.items():
            settings = {"way": way, "plugins": list(plugins), "number": number, "frames": FRAMES}
            settings["methods"] = SCHEMA_VERSION
            key = key_of(settings, about["weights"], about["dtype"], about["device"])
            if key not in ledger.rows:
                row = {**settings, **judge(pipe, scene, plugins, number), **about}
                ledger.add(key, row)
                say(f"{number + 1:3} {way:32} {row['moving']:2} of {row['windows']} move, {row['kept']:2} kept")


def judge(pipe: Any, scene: Scene, plugins: Sequence[str], seed: int) -> Row:
    """Make one video and return what the oracle says of it."""
    import genkit

    with genkit.apply(pipe, *map(catalogue.parse, plugins)) as handle:
        video = handle.generate(caption(scene), num_frames=FRAMES, seed=seed)
    found = verdict(video.frames, caption(scene))
    said = {"windows": found.windows, "kept": found.kept, "moving": found.moving}
    whole = read(torch.from_numpy(video.frames[:: (FRAMES - 1) // (NATIVE_FRAMES - 1)]).movedim(-1, 1))
    said["event"] = int(score(whole, scene)["motion"])
    return {"prompt": caption(scene), **said, "seconds": video.receipt.seconds.denoise if video.receipt else None}


def table(rows: Sequence[Row]) -> str:
    """Return Markdown: one line for each way, means over the prompts with intervals of 95 %."""
    head = ("way", "videos", "show the motion of the prompt", "windows that move", "windows that keep the shape")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for way in dict.fromkeys(row["way"] for row in rows):
        mine = [row for row in rows if row["way"] == way]
        cells = (_share(mine, name) for name in ("event", "moving", "kept"))
        lines.append(f"| {way} | {len(mine)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _share(rows: Sequence[Row], name: str) -> str:
    """Return a share with its interval: of the videos for ``event``, of their windows for the others."""
    curves = {
        str(row["number"]): [Stat.of_curve(_hits(row[name], 1 if name == "event" else row["windows"]))] for row in rows
    }
    found = estimate(curves, bounds=UNIT.bounds)
    return f"{found.value:.0%} ({found.low:.0%} to {found.high:.0%})" if found.low is not None else f"{found.value:.0%}"


def _hits(count: int, windows: int) -> list[float]:
    return [1.0] * count + [0.0] * (windows - count)


def write_section(page: Path, rows: Sequence[Row]) -> None:
    """Replace the table of a page.

    Raises:
        UsageError: the page has no place for it.
    """
    page.write_text(insert_section(page.read_text("utf-8"), BEGIN, END, table(rows)), "utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; None reads the arguments of the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="file of results, one JSON object a line")
    parser.add_argument("--docs", type=Path, help="Markdown file whose table is rewritten")
    parser.add_argument("--prompts", type=int, default=8, help="held-out prompts (default: %(default)s)")
    args = parser.parse_args(arguments)
    try:
        return _measure(args.out, args.docs, args.prompts)
    except GenkitError as error:
        parser.exit(1, f"error: {error}\n")


def _measure(out: Path, docs: Path | None, prompts: int) -> int:
    pipe, about = open_embedded(0)
    with Ledger(out) as ledger:
        run(pipe, prompts, ledger, about, lambda line: print(line, flush=True))
        rows = list(ledger.rows.values())
    print(table(rows))
    if docs is not None:
        write_section(docs, rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
