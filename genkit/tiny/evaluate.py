"""Measure the embedded model: ``python -m genkit.tiny.evaluate --prompts 200``.

Prompts that training never contained (colour, shape and motion together were held out) go through the stock
``WanPipeline``, the oracle reads the clips, and a table reports the share of each attribute that is right, with 95 %
Wilson intervals: for one thing, for two things (right only if right for both), and for all. The last line is the
ceiling: the share of exact clips of the same prompts that the oracle reads right.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genkit.errors import GenkitError, UsageError
from genkit.tiny import TINY_WEIGHTS
from genkit.tiny.ceiling import exact_results
from genkit.tiny.events import read_event
from genkit.tiny.motions import UNET_FRAMES, WORLDS, World
from genkit.tiny.oracle import read, score
from genkit.tiny.tally import Result, confusions, has_event, held_out_scenes, summarise, table
from genkit.tiny.world import NATIVE_SIDE, Scene, caption

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

MAX_TEXT = 32
"""Maximum number of text tokens; the longest caption of the world has fewer."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Prompts and settings of the generation."""

    prompts: int = 200
    """Number of held-out prompts: with one thing and two things in turn, and in World 2 with an event."""
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


def world_of(pipe: "DiffusionPipeline") -> World:
    """Return the world that an embedded model learned, by its autoencoder."""
    return WORLDS[pipe.vae.config.world]


def load_pipeline(folder: Path) -> "DiffusionPipeline":
    """Load a stock pipeline in float32, on the GPU if there is one.

    Raises:
        GenkitError: the folder does not contain a pipeline.
    """
    if not (folder / "model_index.json").is_file():
        raise GenkitError(
            f"{folder} does not contain a pipeline (model_index.json); give the folder of a trained model by --model, "
            "python -m genkit.tiny.train writes one"
        )
    from diffusers import DiffusionPipeline

    import genkit.tiny.models.frames  # noqa: F401  (diffusers loads classes only from imported modules)

    pipe: DiffusionPipeline = DiffusionPipeline.from_pretrained(folder, trust_remote_code=False)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.float()  # stored in half precision
    return pipe.to("cuda" if torch.cuda.is_available() else "cpu")


def has_unet(pipe: "DiffusionPipeline") -> bool:
    """Return True for ``tiny-unet``, False for a transformer."""
    return "unet" in pipe.components


def native_frames(pipe: "DiffusionPipeline") -> int:
    """Return the pixel frames of a clip of an embedded model's native length."""
    return UNET_FRAMES if has_unet(pipe) else world_of(pipe).native_frames


def generate(pipe: "DiffusionPipeline", scenes: list[Scene], config: EvaluateConfig) -> Iterator[Tensor]:
    """Yield one native clip ``[T, 3, 64, 64]`` in [0, 1] for each scene, in order."""
    own = {} if has_unet(pipe) else {"max_sequence_length": MAX_TEXT}
    pipe.set_progress_bar_config(disable=True)
    for start in range(0, len(scenes), config.batch):
        part = scenes[start : start + config.batch]
        seeds = [1000 * config.seed + start + i for i in range(len(part))]
        clips = pipe(
            prompt=[caption(scene) for scene in part],
            height=NATIVE_SIDE,
            width=NATIVE_SIDE,
            num_frames=native_frames(pipe),
            num_inference_steps=config.steps,
            guidance_scale=config.guidance,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="pt",
            **own,
        ).frames
        yield from clips.float()


def evaluate(pipe: "DiffusionPipeline", config: EvaluateConfig) -> list[Result]:
    """Generate a clip for each held-out prompt and read it."""
    world = world_of(pipe)
    scenes = held_out_scenes(config.prompts, config.seed, world)
    results = []
    for scene, clip in zip(scenes, generate(pipe, scenes, config), strict=True):
        reading = read_event(clip, world) if has_event(scene) else read(clip, world)
        results.append(Result(scene, reading, score(reading, scene)))
    return results


def ceiling_line(exact: list[Result]) -> str:
    """Return the joint shares of exact clips as text."""
    cells = [f"{name} {100 * row['joint'].share:.1f} %" for name, row in summarise(exact).items()]
    return f"joint ceiling, exact clips of the same prompts: {', '.join(cells)}"


def as_json(results: list[Result], exact: list[Result], config: EvaluateConfig) -> str:
    """Return the configuration, the summary and its ceiling, the confusions and every reading as one JSON object."""
    summary, ceiling = (
        {name: {c: asdict(s) for c, s in row.items()} for name, row in summarise(found).items()}
        for found in (results, exact)
    )
    return json.dumps(
        {
            "config": asdict(config),
            "summary": summary,
            "ceiling": ceiling,
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
        pipe = load_pipeline(args.model)
        results = evaluate(pipe, config)
        world = world_of(pipe)
        exact = exact_results([r.scene for r in results], world, native_frames(pipe), config.seed)
    except GenkitError as error:
        parser.exit(2 if isinstance(error, UsageError) else 1, f"error: {error}\n")
    print(as_json(results, exact, config) if args.json else f"{table(results)}\n{ceiling_line(exact)}")


if __name__ == "__main__":
    main()
