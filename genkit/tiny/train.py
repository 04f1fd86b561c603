"""Train the embedded models: ``python -m genkit.tiny.train --world 2 --out runs/tiny --steps 20000``.

``tiny`` learns by flow matching with the clean latents as the target, captions dropped for guidance; first single
frames, then clips. ``tiny-few`` learns from a finished ``tiny`` to take four steps, ``tiny-unet`` learns velocities,
``decoder`` is the network of their autoencoder. The same command resumes from the checkpoint in ``--out`` as if it had
never stopped, and runs on a CPU (bfloat16 matrix products) or one GPU. Nothing is downloaded: the world is drawn while
the model learns.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from genkit.errors import UsageError
from genkit.tiny.autoencoder import PatchAutoencoder
from genkit.tiny.build import TinyConfig
from genkit.tiny.motions import PACKAGED, WORLDS, World
from genkit.tiny.training.checkpoint import restore, save, write_row
from genkit.tiny.training.config import CONFIGS, TrainConfig
from genkit.tiny.training.few import FewLearner
from genkit.tiny.training.flow import FlowLearner, copy_weights
from genkit.tiny.training.learner import Learner
from genkit.tiny.training.motion import UnetLearner
from genkit.tiny.training.seams import SeamLearner
from genkit.tiny.training.solvers import blend, optimizers, rate_at, set_rate
from genkit.tiny.world import NATIVE_SIDE, draw_scene, render


@dataclass(frozen=True, kw_only=True)
class Budget:
    """When a run ends, whichever comes first, and what it does on the way; None means that it does not count."""

    steps: int | None = None
    """Last step."""
    minutes: float | None = None
    """Duration."""
    cooldown: float = 0.0
    """Last share of the run, with a falling rate."""
    save_every: float = 4.0
    """Minutes between checkpoints."""

    def share_done(self, step: int, seconds: float) -> float:
        """Return how much of the run is over, in [0, 1]."""
        parts = [
            step / self.steps if self.steps else 0.0,
            seconds / (60 * self.minutes) if self.minutes else 0.0,
        ]
        return min(1.0, max(parts))


def train(out: Path, learner: Learner, vae: PatchAutoencoder, config: TrainConfig, budget: Budget, first: int) -> None:
    """Train from the checkpoint in ``out``, or from the weights and the step ``first`` that are given."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    learner.to(device)
    average = copy.deepcopy(learner).eval().requires_grad_(False)
    solvers = optimizers(learner, config.learning_rate)
    step = restore(out, learner, average, solvers, first)
    for block in learner.blocks() if config.compiled else []:
        block.compile(dynamic=False)
    clips = learner.clips(vae, config)
    start = saved = time.time()
    recent: list[float] = []
    while (done := budget.share_done(step, time.time() - start)) < 1:
        set_rate(solvers, config.learning_rate * rate_at(step, done, config.warmup, budget.cooldown))
        clips.advance(step)
        recent.append(learner.learn(clips, config, step, device))
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        for solver in solvers:
            solver.step()
            solver.zero_grad(set_to_none=True)
        blend(average, learner, min(config.ema, (1 + step) / (10 + step)))
        step += 1
        if step % 50 == 0:
            write_row(out, "log.jsonl", {"step": step, "loss": _mean(recent[-50:]), **_minutes(start)})
        watched = config.watch_every and step % config.watch_every == 0
        if watched or time.time() - saved > 60 * budget.save_every:
            save(out, learner, average, solvers, step)
            saved = time.time()
        if watched:
            write_row(out, "watch.jsonl", {"step": step, **average.watch(vae, config.watched), **_minutes(start)})
    save(out, learner, average, solvers, step)
    average.export(out, vae)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _minutes(start: float) -> dict[str, float]:
    return {"minutes": round((time.time() - start) / 60, 2)}


def autoencoder(out: Path, world: World, begin_with: Path | None = None) -> PatchAutoencoder:
    """Return the autoencoder in ``out``; if it is missing, that of ``begin_with``, else a newly fitted one."""
    folder = out / "vae"
    if not folder.exists():
        if begin_with is not None:
            vae = PatchAutoencoder.from_pretrained(begin_with / "vae")
        else:
            generator = torch.Generator().manual_seed(7)
            scenes = [draw_scene(generator, things=1 + i % 2, held_out=False) for i in range(400)]
            clips = render(scenes, generator, num_frames=17, side=NATIVE_SIDE, world=world).movedim(2, 1)
            vae = PatchAutoencoder.fit(clips * 2 - 1, TinyConfig().latent_channels, 2, 8)
        vae.register_to_config(world=world.version)
        vae.save_pretrained(folder)
    return PatchAutoencoder.from_pretrained(folder)


def make_tiny(out: Path, vae: PatchAutoencoder, world: World, model: TinyConfig, begin_with: Path | None) -> Learner:
    """Return ``tiny`` with random weights, or with those of a pipeline folder."""
    learner = FlowLearner(model, world)
    if begin_with is not None:
        learner.copy_from(begin_with)
    return learner


def make_unet(out: Path, vae: PatchAutoencoder, world: World, model: TinyConfig, begin_with: Path | None) -> Learner:
    """Return ``tiny-unet`` with random weights, or with the text encoder of a pipeline folder."""
    learner = UnetLearner(model, world)
    if begin_with is not None:
        copy_weights(learner.text_encoder, begin_with / "text_encoder")
    return learner


def make_few(out: Path, vae: PatchAutoencoder, world: World, model: TinyConfig, begin_with: Path | None) -> Learner:
    """Return ``tiny-few``, which begins as a copy of its teacher.

    Raises:
        UsageError: there is not a teacher to begin with.
    """
    if begin_with is None:
        raise UsageError("begin_with=None: tiny-few learns from a teacher; give the folder of a finished tiny pipeline")
    return FewLearner(model, world, out, begin_with)


def make_decoder(out: Path, vae: PatchAutoencoder, world: World, model: TinyConfig, begin_with: Path | None) -> Learner:
    """Return the autoencoder with a decoder of seams that adds nothing yet."""
    return SeamLearner(vae, world)


LEARNERS: dict[str, Callable[[Path, PatchAutoencoder, World, TinyConfig, Path | None], Learner]] = {
    "tiny": make_tiny,
    "tiny-unet": make_unet,
    "tiny-few": make_few,
    "decoder": make_decoder,
}


def run(
    name: str,
    out: Path,
    model: TinyConfig,
    config: TrainConfig,
    budget: Budget,
    world: World = PACKAGED,
    begin_with: Path | None = None,
) -> None:
    """Train one of ``LEARNERS`` in a folder, or continue there; ``begin_with`` is a pipeline folder to start from."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps({"model": asdict(model), "train": asdict(config)}, indent=2))
    vae = autoencoder(out, world, begin_with)
    torch.manual_seed(0)
    learner = LEARNERS[name](out, vae, world, model, begin_with)
    train(out, learner, vae, config, budget, config.image_steps if begin_with else 0)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=LEARNERS, default="tiny", help="what to train")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint, log and result")
    parser.add_argument("--world", type=int, choices=WORLDS, default=PACKAGED.version, help="rules of motion")
    parser.add_argument("--minutes", type=float, help="how long to train (default: 60, or until --steps)")
    parser.add_argument("--steps", type=int, help="last step")
    parser.add_argument("--cooldown", type=float, default=0.0, help="last share of the run with a falling rate")
    parser.add_argument("--rate", type=float, default=TrainConfig.learning_rate, help="peak rate; less to polish")
    parser.add_argument("--save-every", type=float, default=4.0, help="minutes between checkpoints")
    parser.add_argument("--threads", type=int, help="threads of a CPU (default: all cores)")
    parser.add_argument(
        "--begin-with", type=Path, help="pipeline folder whose weights to start from, without checkpoint"
    )
    parser.add_argument("--export", action="store_true", help="only write the result of the checkpoint")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    minutes = args.minutes if args.minutes or args.steps or args.export else 60.0
    budget = Budget(steps=args.steps, minutes=minutes, cooldown=args.cooldown, save_every=args.save_every)
    if (args.model, args.world) not in CONFIGS:
        parser.error(f"--world {args.world} has no settings for {args.model}; use --world 2")
    config = replace(CONFIGS[args.model, args.world], learning_rate=args.rate)
    if args.export:
        if not (args.out / "checkpoint.pt").exists():
            parser.error(f"{args.out} does not contain a checkpoint.pt to export; train there first")
        budget = replace(budget, steps=1)
    run(args.model, args.out, TinyConfig(), config, budget, WORLDS[args.world], args.begin_with)


if __name__ == "__main__":
    main()
