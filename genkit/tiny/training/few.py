"""``tiny-few`` as it learns: four steps without guidance that end where twenty guided steps of ``tiny`` end.

The teacher's paths from noise to clip are drawn once, by number, and kept in the run's folder. At each of the four
noise levels the student predicts the clean latents of the straight line from the teacher's latents there to those at
the next level, so that one first-order step makes the jump of five. Source: Salimans and Ho, arXiv 2202.00512, section
3 (the target), with a whole path of the teacher in place of two of its steps.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import UniPCMultistepScheduler, WanPipeline
from torch import Tensor, nn

from genkit.tiny.autoencoder import PatchAutoencoder
from genkit.tiny.build import FLOW_SHIFT, TinyConfig, assemble_pipeline, build_scheduler
from genkit.tiny.evaluate import MAX_TEXT
from genkit.tiny.motions import World
from genkit.tiny.training.clips import SEED, Clips
from genkit.tiny.training.config import TrainConfig
from genkit.tiny.training.flow import FlowLearner

STEPS = 4
"""Steps of the student."""
TEACHER_STEPS = 20
GUIDANCE = 3.0
SHARD = 24
"""Paths in one file."""
STEPS_PER_SHARD = 40
"""Steps of training between two new files of paths."""


def student_scheduler() -> UniPCMultistepScheduler:
    """Build the stock solver at first order without correction: the deterministic step of DDIM."""
    return UniPCMultistepScheduler(
        prediction_type="sample",
        use_flow_sigmas=True,
        flow_shift=FLOW_SHIFT,
        solver_order=1,
        disable_corrector=list(range(STEPS)),
    )


def straight_end(here: Tensor, there: Tensor, sigma: Tensor, after: Tensor) -> Tensor:
    """Return the clean latents to which the straight line from ``here`` through ``there`` leads.

    Both are ``[B, Z, F, H, W]``, at noise levels ``sigma`` and ``after``, each ``[B]`` with ``after < sigma``.
    """
    ratio = (after / sigma)[:, None, None, None, None]
    return (there - ratio * here) / (1 - ratio)


class Paths:
    """The teacher's paths in files of a folder, made when a step first needs them.

    A path is the latents at the student's four noise levels and the clean ones, ``[5, Z, F, H, W]``.
    """

    def __init__(self, folder: Path, teacher: FlowLearner, clips: Clips, max_shards: int) -> None:
        self.folder, self.teacher, self.clips, self.max_shards = folder, teacher, clips, max_shards
        self.paths: list[Tensor] = []
        self.texts: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)

    def advance(self, step: int) -> None:
        """Read or make the paths that a step may learn from."""
        for number in range(len(self.paths) // SHARD, min(self.max_shards, 1 + step // STEPS_PER_SHARD)):
            file = self.folder / f"{number:05}.pt"
            if not file.exists():
                torch.save(self._make(number), file.with_suffix(".tmp"))
                file.with_suffix(".tmp").replace(file)
            made = torch.load(file, weights_only=True)
            self.paths += list(made["paths"])
            self.texts += made["texts"]

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, list[str], Tensor]:
        """Return random paths ``[count, 5, Z, F, H, W]``, their captions, and a random level of each, 0 to 3."""
        places = torch.randint(len(self.paths), (count,), generator=generator).tolist()
        levels = torch.randint(STEPS, (count,), generator=generator)
        return torch.stack([self.paths[p] for p in places]).float(), [self.texts[p] for p in places], levels

    @torch.no_grad()
    def _make(self, number: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(SEED + number)
        self.clips.advance(number)
        clean, texts = self.clips.sample(SHARD, generator)
        device = next(self.teacher.parameters()).device
        with torch.autocast(device.type, torch.bfloat16):
            text = self.teacher.encode(texts + [""] * SHARD, MAX_TEXT, device)
            path = _guided_path(self.teacher.transformer, torch.randn(clean.shape, generator=generator), text)
        return {"paths": path.half(), "texts": texts}


def _guided_path(transformer: nn.Module, noise: Tensor, text: Tensor) -> Tensor:
    """Return the latents ``[B, 5, ..]`` of a guided sampling, before every fifth step and at the end."""
    scheduler = build_scheduler()
    scheduler.set_timesteps(TEACHER_STEPS)
    latents, kept = noise, []
    for i, time in enumerate(scheduler.timesteps):
        if i % (TEACHER_STEPS // STEPS) == 0:
            kept.append(latents)
        both = transformer(torch.cat([latents] * 2), time.expand(2 * len(latents)), text, return_dict=False)[0].float()
        given, empty = both.chunk(2)
        latents = scheduler.step(empty + GUIDANCE * (given - empty), time, latents, return_dict=False)[0]
    return torch.stack([*kept, latents], 1)


class FewLearner(FlowLearner):
    """A copy of ``tiny`` that learns to take few steps; ``begin_with`` is the teacher's pipeline folder."""

    def __init__(self, model: TinyConfig, world: World, out: Path, begin_with: Path) -> None:
        super().__init__(model, world)
        self.copy_from(begin_with)
        self.out, self.begin_with, self.model = out, begin_with, model

    def clips(self, vae: PatchAutoencoder, config: TrainConfig) -> Paths:
        """Return the teacher's paths."""
        teacher = FlowLearner(self.model, self.world)
        teacher.copy_from(self.begin_with)
        teacher.to(next(self.parameters()).device).eval().requires_grad_(False)
        return Paths(self.out / "paths", teacher, super().clips(vae, config), config.paths)

    def sampling(self) -> dict[str, Any]:
        """Return how clips are sampled for the running evaluation."""
        return {"steps": STEPS, "guidance": 1.0}

    def pipeline(self, vae: PatchAutoencoder) -> WanPipeline:
        """Return the stock pipeline of these weights, with a first-order solver."""
        pipe = assemble_pipeline(vae, self.text_encoder, self.transformer, self.world)
        pipe.register_modules(scheduler=student_scheduler())
        return pipe

    def learn(self, clips: Any, config: TrainConfig, step: int, device: str) -> float:
        """Draw points of the teacher's paths, predict the ends of their straight lines and compute gradients."""
        generator = torch.Generator().manual_seed(step)
        paths, texts, levels = clips.sample(config.batch, generator)
        scheduler = student_scheduler()
        scheduler.set_timesteps(STEPS)
        sigma, after = scheduler.sigmas[levels].to(device), scheduler.sigmas[levels + 1].to(device)
        rows = torch.arange(len(paths))
        here, there = paths[rows, levels].to(device), paths[rows, levels + 1].to(device)
        wanted = straight_end(here, there, sigma, after)
        with torch.autocast(device, torch.bfloat16):
            text = self.encode(texts, MAX_TEXT, torch.device(device))
            time = scheduler.timesteps[levels].to(device)
            predicted = self.transformer(here, time, text, return_dict=False)[0]
        loss: Tensor = (predicted.float() - wanted).square().mean()
        loss.backward()
        return float(loss.detach())
