"""Measure the embedded model: ``python -m genkit.tiny.evaluate --prompts 200``.

Prompts that training never contained (colour, shape and motion together were held out) go through the stock
``WanPipeline``, the oracle reads the clips, and a table reports the share of each attribute that is right, with 95 %
Wilson intervals: for one thing, for two things (right only if right for both), and for all.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genkit.errors import GenkitError, UsageError
from genkit.tiny import TINY_WEIGHTS
from genkit.tiny.oracle import Reading, read, score
from genkit.tiny.world import NATIVE_FRAMES, NATIVE_SIDE, Scene, caption, draw_scene

if TYPE_CHECKING:
    from diffusers import WanPipeline

COLUMNS = ("color", "shape", "size", "motion", "background", "joint")
MAX_TEXT = 32
"""Maximum number of text tokens; the longest caption of the world has fewer."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Prompts and settings of the generation."""

    prompts: int = 200
    """Number of held-out prompts; every second one has two things."""
    seed: int = 0
    """Seed of the choice of prompts; clip ``i`` starts from noise of seed ``1000 seed + i``, whatever the batch."""
    steps: int = 20
    """Solver steps."""
    guidance: float = 3.0
    """Guidance scale; 1 disables it."""
    batch: int = 8
    """Clips generated at once."""

    def __post_init__(self) -> None:
        for name in ("prompts", "steps", "batch"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}={getattr(self, name)} must be at least 1")


@dataclass(frozen=True)
class Share:
    """A share of clips and its 95 % Wilson interval, all in [0, 1]."""

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Result:
    """One clip: its scene, the oracle's reading, and which attributes are right."""

    scene: Scene
    reading: Reading
    right: dict[str, bool]


def held_out_scenes(count: int, seed: int) -> list[Scene]:
    """Return scenes that training never draws, with one and two things in turn; the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return [draw_scene(generator, things=1 + i % 2, held_out=True) for i in range(count)]


def load_pipeline(folder: Path) -> "WanPipeline":
    """Load the stock pipeline in float32, on the GPU if there is one.

    Raises:
        GenkitError: the folder does not contain a pipeline.
    """
    if not (folder / "model_index.json").is_file():
        raise GenkitError(
            f"{folder} does not contain a pipeline (model_index.json); give the folder of a trained model by --model, "
            "python -m genkit.tiny.train writes one"
        )
    from diffusers import WanPipeline

    import genkit.tiny.autoencoder  # noqa: F401  (diffusers loads classes only from imported modules)

    pipe = WanPipeline.from_pretrained(folder, trust_remote_code=False)
    for part in (pipe.text_encoder, pipe.transformer, pipe.vae):
        part.float()  # stored in half precision
    return pipe.to("cuda" if torch.cuda.is_available() else "cpu")


def generate(pipe: "WanPipeline", scenes: list[Scene], config: EvaluateConfig) -> Iterator[Tensor]:
    """Yield one clip ``[17, 3, 64, 64]`` in [0, 1] for each scene, in order."""
    pipe.set_progress_bar_config(disable=True)
    for start in range(0, len(scenes), config.batch):
        part = scenes[start : start + config.batch]
        seeds = [1000 * config.seed + start + i for i in range(len(part))]
        clips = pipe(
            prompt=[caption(scene) for scene in part],
            height=NATIVE_SIDE,
            width=NATIVE_SIDE,
            num_frames=NATIVE_FRAMES,
            num_inference_steps=config.steps,
            guidance_scale=config.guidance,
            max_sequence_length=MAX_TEXT,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="pt",
        ).frames
        yield from clips.float()


def evaluate(pipe: "WanPipeline", config: EvaluateConfig) -> list[Result]:
    """Generate a clip for each held-out prompt and read it."""
    scenes = held_out_scenes(config.prompts, config.seed)
    results = []
    for scene, clip in zip(scenes, generate(pipe, scenes, config), strict=True):
        reading = read(clip)
        results.append(Result(scene, reading, score(reading, scene)))
    return results


def wilson(right: int, count: int) -> Share:
    """Return share and 95 % interval; without clips 0 in [0, 1]. Source: E. B. Wilson, JASA 22 (1927)."""
    if not count:
        return Share(0.0, 0.0, 1.0)
    z, share = 1.959964, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return Share(share, max(0.0, middle - half), min(1.0, middle + half))


def summarise(results: list[Result]) -> dict[str, dict[str, Share]]:
    """Return the shares by row (``one thing``, ``two things``, ``all``) and column."""
    rows = {
        "one thing": [r for r in results if len(r.scene.things) == 1],
        "two things": [r for r in results if len(r.scene.things) == 2],
        "all": results,
    }
    return {
        name: {column: wilson(sum(r.right[column] for r in row), len(row)) for column in COLUMNS}
        for name, row in rows.items()
    }


def confusions(results: list[Result], attribute: str) -> list[tuple[str, str, int]]:
    """Return asked, read and count, commonest first, of things found by their colour; ``none`` reads as no name."""
    counts: Counter[tuple[str, str]] = Counter()
    for result in results:
        for asked in result.scene.things:
            for seen in result.reading.things:
                wanted, found = getattr(asked, attribute), getattr(seen, attribute) or "none"
                if seen.color == asked.color and wanted != found:
                    counts[wanted, found] += 1
    return [(wanted, found, count) for (wanted, found), count in counts.most_common(6)]


def table(results: list[Result]) -> str:
    """Return the summary and the commonest confusions as text."""
    lines = [f"{'right, in %':12}" + "".join(f"{column:>18}" for column in COLUMNS)]
    for name, row in summarise(results).items():
        cells = [f"{100 * s.share:.1f} ({100 * s.low:.0f}-{100 * s.high:.0f})" for s in row.values()]
        lines.append(f"{name:12}" + "".join(f"{cell:>18}" for cell in cells))
    for attribute in ("shape", "motion"):
        counts = [f"{wanted} read as {found}: {count}" for wanted, found, count in confusions(results, attribute)]
        lines.append(f"{attribute}s confused: {'; '.join(counts) or 'none'}")
    return "\n".join(lines)


def as_json(results: list[Result], config: EvaluateConfig) -> str:
    """Return the configuration, the summary, the confusions and every clip's reading as one JSON object."""
    return json.dumps(
        {
            "config": asdict(config),
            "summary": {name: {c: asdict(s) for c, s in row.items()} for name, row in summarise(results).items()},
            "confusions": {attribute: confusions(results, attribute) for attribute in ("shape", "motion")},
            "clips": [{"prompt": caption(r.scene), "read": asdict(r.reading), "right": r.right} for r in results],
        }
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; None reads the arguments of the process."""
    default = EvaluateConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=TINY_WEIGHTS, help="pipeline folder (default: the packaged one)")
    parser.add_argument("--prompts", type=int, default=default.prompts, help="number of held-out prompts")
    parser.add_argument("--seed", type=int, default=default.seed, help="chooses prompts and noise")
    parser.add_argument("--steps", type=int, default=default.steps, help="solver steps")
    parser.add_argument("--guidance", type=float, default=default.guidance, help="guidance scale, 1 for none")
    parser.add_argument("--batch", type=int, default=default.batch, help="clips generated at once")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(arguments)
    try:
        config = EvaluateConfig(
            prompts=args.prompts, seed=args.seed, steps=args.steps, guidance=args.guidance, batch=args.batch
        )
        results = evaluate(load_pipeline(args.model), config)
    except GenkitError as error:
        parser.exit(2 if isinstance(error, UsageError) else 1, f"error: {error}\n")
    print(as_json(results, config) if args.json else table(results))


if __name__ == "__main__":
    main()
