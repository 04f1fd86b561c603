"""Every planner on the embedded model at four times its length: density, and effect on the videos.

    python -m genkit.benchmarks.tiny.planners --out benchmarks/results/planners_tiny.jsonl --docs docs/planners.md

Each held-out prompt is made with dense attention and then, from the same noise, by each planner. A row of the file is
one video: the executed density, PSNR and SSIM against the dense video of its prompt, the oracle's reading, and seconds.
The order is by prompt, so that other load on the machine affects all planners equally; a stopped run is continued by
the same command.

The model was trained on clips of 17 frames, so an extension is needed beyond them, for the dense videos too:

``interpolation``  the plug-in ``position-interpolation``: the event is as many times as slow as the video is longer, so
                   the oracle reads every fourth frame, which are 17 again
``freelong``       the plug-in; its attention over all frames is then the sparse one; every window of 17 is read
``none``           nothing, and every window of 17 is read. The motions freeze with any attention
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from genkit.attention.planning.rule import WARM_UP
from genkit.benchmarks.evaluate.ledger import Ledger, Row, key_of
from genkit.benchmarks.suites.similarity import mse, psnr, ssim
from genkit.benchmarks.tiny.embedded import open_embedded
from genkit.benchmarks.tiny.table import check_goals, table, write_section
from genkit.errors import GenkitError, UsageError, nearest
from genkit.plugins import catalogue
from genkit.plugins.sparse import methods
from genkit.tiny.oracle import Reading, read, read_windows, score
from genkit.tiny.tally import held_out_scenes
from genkit.tiny.world import NATIVE_FRAMES, Scene, caption
from genkit.video.recipe import SCHEMA_VERSION
from genkit.video.video import Video

DENSE = "dense"
INTERPOLATION = "interpolation"
EXTENSIONS = {INTERPOLATION: ("position-interpolation",), "freelong": ("freelong",), "none": ()}
"""Ways to extend the model beyond its training length, with the plug-ins of each."""


@dataclass(frozen=True, kw_only=True)
class PlannersConfig:
    """Videos to make."""

    prompts: int = 60
    """Number of held-out prompts, with one and two things in turn; a larger number begins with the same ones."""
    seed: int = 0
    """Seed of the choice of prompts; video ``i`` starts from noise of seed ``1000 seed + i``."""
    frames: int = 4 * (NATIVE_FRAMES - 1) + 1
    """Pixel frames of each video."""
    steps: int = 20
    """Solver steps."""
    extensions: tuple[str, ...] = (INTERPOLATION,)
    """Names in ``EXTENSIONS``; each makes all rows."""
    planners: tuple[str, ...] = field(default_factory=lambda: tuple(methods.names()))
    """Names of sparse methods; each runs as its ``tiny_example`` says."""

    def __post_init__(self) -> None:
        for name, minimum in (("prompts", 1), ("steps", 1), ("frames", NATIVE_FRAMES)):
            if getattr(self, name) < minimum:
                raise UsageError(f"{name}={getattr(self, name)} must be at least {minimum}")
        if (self.frames - 1) % (NATIVE_FRAMES - 1):
            raise UsageError(f"frames={self.frames} is not 1 + {NATIVE_FRAMES - 1} n, a whole multiple of the length")
        for names, known in ((self.extensions, EXTENSIONS), (self.planners, methods.names())):
            if wrong := [name for name in names if name not in known]:
                raise UsageError(f"there is no {wrong[0]!r} to measure; {nearest(wrong[0], known)}")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row to make."""

    extension: str
    planner: str
    number: int
    """Index of the prompt, from 0."""
    scene: Scene
    seed: int

    @property
    def plugins(self) -> tuple[str, ...]:
        """Plug-ins in their textual form."""
        return plugins_of(self.extension, self.planner)


def plugins_of(extension: str, planner: str) -> tuple[str, ...]:
    """Return the plug-ins of a row in their textual form."""
    return EXTENSIONS[extension] + (() if planner == DENSE else (methods.text(planner, "tiny"),))


Make = Callable[[Job], Video]
"""Function that makes the video of a row."""


def jobs(config: PlannersConfig) -> Iterator[list[Job]]:
    """Yield the rows of each prompt and extension, the dense one first."""
    for number, scene in enumerate(held_out_scenes(config.prompts, config.seed)):
        seed = 1000 * config.seed + number
        for extension in config.extensions:
            yield [
                Job(extension=extension, planner=planner, number=number, scene=scene, seed=seed)
                for planner in (DENSE, *config.planners)
            ]


def measure(job: Job, video: Video, dense: Video) -> Row:
    """Return the measurements of one video."""
    answers = [score(reading, job.scene) for reading in _readings(job, video)]
    pairs = [] if job.planner == DENSE else list(zip(video.frames, dense.frames, strict=True))
    return {
        "prompt": caption(job.scene),
        "things": len(job.scene.things),
        **_densities(job.planner, video),
        "psnr": fmean(psnr(mse(a, b)) for a, b in pairs) if pairs else None,
        "ssim": fmean(ssim(a, b, "gaussian") for a, b in pairs) if pairs else None,
        "right": {name: [int(answer[name]) for answer in answers] for name in answers[0]},
        "seconds": video.receipt.seconds.denoise if video.receipt else None,
    }


def _readings(job: Job, video: Video) -> list[Reading]:
    frames = torch.from_numpy(video.frames).movedim(-1, 1)
    if job.extension == INTERPOLATION:
        return [read(frames[:: (len(frames) - 1) // (NATIVE_FRAMES - 1)])]
    return read_windows(frames)


def _densities(planner: str, video: Video) -> Row:
    """Return the density of the sparse calls, and of all calls of the planner; refused calls are separate."""
    assert video.receipt is not None
    attention = video.receipt.attention
    share = attention.densities.get(planner)
    refused = sum(refusal.calls for refusal in attention.refusals if refusal.plugin == planner)
    if share is None:
        return {"density": 1.0, "with_warm_up": 1.0, "sparse_calls": 0, "refused_calls": refused}
    warm = attention.backends.get(WARM_UP, 0)
    whole = (share.mean * share.calls + warm) / (share.calls + warm)
    return {"density": share.mean, "with_warm_up": whole, "sparse_calls": share.calls, "refused_calls": refused}


def run(config: PlannersConfig, make: Make, ledger: Ledger, about: Row, say: Callable[[str], None]) -> None:
    """Make every row that the ledger does not contain yet."""
    for group in jobs(config):
        keys = {job: _key(job, config, about) for job in group}
        missing = [job for job in group if keys[job] not in ledger.rows]
        if not missing:
            continue
        dense = make(group[0])
        for job in missing:
            video = dense if job.planner == DENSE else make(job)
            row = measure(job, video, dense)
            ledger.add(keys[job], {**_settings(job, config), **row, **about})
            say(f"{job.number + 1:3} {job.extension:13} {job.planner:14} {_describe(row)}")


def _describe(row: Row) -> str:
    near = "" if row["psnr"] is None else f", {row['psnr']:.1f} dB"
    return f"density {row['density']:.3f}{near}, joint {fmean(row['right']['joint']):.2f}, {row['seconds']:.1f} s"


def _settings(job: Job, config: PlannersConfig) -> Row:
    return {
        "carrier": job.extension,  # this word is part of the keys of earlier results
        "planner": job.planner,
        "plugins": list(job.plugins),
        "number": job.number,
        "seed": job.seed,
        "frames": config.frames,
        "steps": config.steps,
        "methods": SCHEMA_VERSION,
    }


def _key(job: Job, config: PlannersConfig, about: Row) -> str:
    return key_of(_settings(job, config), about["weights"], about["dtype"], about["device"])


def check_same(rows: Sequence[Row], about: Row, config: PlannersConfig, path: Path) -> None:
    """Raise ``UsageError`` if a file contains rows that cannot share a table with new ones."""
    wanted = {name: about[name] for name in ("weights", "dtype", "device")}
    wanted |= {"frames": config.frames, "steps": config.steps, "methods": SCHEMA_VERSION}
    for row in rows:
        plugins = list(plugins_of(row["carrier"], row["planner"]))
        found = {"methods": 1, **row}
        for name, value in {**wanted, "plugins": plugins}.items():
            if found[name] != value:
                raise UsageError(
                    f"{str(path)!r} contains results with {name}={found[name]!r}, but this run has {value!r}; use "
                    "another file, or move that one away"
                )


def maker(pipe: Any, config: PlannersConfig) -> Make:
    """Return a function that makes videos with a pipeline, without its progress bar."""
    import genkit

    pipe.set_progress_bar_config(disable=True)

    def make(job: Job) -> Video:
        with genkit.apply(pipe, *map(catalogue.parse, job.plugins)) as handle:
            frames, steps = config.frames, config.steps
            return handle.generate(caption(job.scene), num_frames=frames, num_inference_steps=steps, seed=job.seed)

    return make


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; None reads the arguments of the process. Return 1 if two planners miss their goals."""
    default = PlannersConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="file of results, one JSON object a line")
    parser.add_argument("--docs", type=Path, help="Markdown file whose section for this table is rewritten")
    parser.add_argument("--prompts", type=int, default=default.prompts, help="held-out prompts (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=default.seed, help="chooses prompts and noise")
    parser.add_argument("--frames", type=int, default=default.frames, help="pixel frames (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=default.steps, help="solver steps (default: %(default)s)")
    known = ", ".join(EXTENSIONS)
    parser.add_argument("--extensions", "--carriers", nargs="+", default=default.extensions, help=f"of: {known}")
    parser.add_argument("--planners", nargs="+", default=default.planners, help=f"of: {', '.join(default.planners)}")
    args = parser.parse_args(arguments)
    values = {name: getattr(args, name) for name in asdict(default)}
    try:
        return _measure(PlannersConfig(**values), args.out, args.docs)
    except GenkitError as error:
        parser.exit(2 if isinstance(error, UsageError) else 1, f"error: {error}\n")


def _measure(config: PlannersConfig, out: Path, docs: Path | None) -> int:
    pipe, about = open_embedded(config.seed)
    with Ledger(out) as ledger:
        check_same(list(ledger.rows.values()), about, config, out)
        run(config, maker(pipe, config), ledger, about, lambda line: print(line, flush=True))
        rows = list(ledger.rows.values())
    print(table(rows))
    if docs is not None:
        write_section(docs, rows)
    passed, lines = check_goals(rows)
    print(lines)
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
