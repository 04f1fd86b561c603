"""Training clips: rendered while the model learns, encoded once, and kept for a while.

Clip ``i`` depends on its number alone, and the clips of a step on the number of the step, so that a resumed run learns
from what it would have learned from.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from genkit.tiny.motions import World
from genkit.tiny.training.config import TrainConfig
from genkit.tiny.world import NATIVE_SIDE, Scene, caption, draw_scene, render

SEED = 1_000_000
"""Seed of clip 0; tests and evaluation draw from seeds below."""


class Clips:
    """Encoded clips and their scenes, of which the ``config.fresh`` oldest are replaced in every step.

    Args:
        encode: from pixels ``[B, 3, T, S, S]`` in [-1, 1] to normalised latents ``[B, Z, F, H, W]``.
        num_frames: pixel frames of each clip.
    """

    def __init__(self, encode: Callable[[Tensor], Tensor], world: World, num_frames: int, config: TrainConfig) -> None:
        self.encode, self.world, self.num_frames, self.config = encode, world, num_frames, config
        self.scenes: list[Scene | None] = [None] * config.pool
        shape = encode(torch.zeros(1, 3, num_frames, NATIVE_SIDE, NATIVE_SIDE)).shape[1:]
        self.latents = torch.empty(config.pool, *shape, dtype=torch.bfloat16)
        self.drawn: int | None = None

    def advance(self, step: int) -> None:
        """Make the clips those of ``step``: the ``config.pool`` numbers from ``config.fresh step`` on."""
        size = self.config.pool
        end = self.config.fresh * step + size
        begin = end - size if self.drawn is None else max(self.drawn, end - size)
        for first in range(begin, end, 50):
            self._draw(range(first, min(first + 50, end)))
        self.drawn = end

    def _draw(self, numbers: range) -> None:
        clips = []
        for number in numbers:
            generator = torch.Generator().manual_seed(SEED + number)
            scene = self._scene(generator)
            self.scenes[number % len(self.scenes)] = scene
            clips.append(render([scene], generator, num_frames=self.num_frames, side=NATIVE_SIDE, world=self.world))
        with torch.no_grad():
            latents = self.encode(torch.cat(clips).movedim(2, 1) * 2 - 1)
        self.latents[[number % len(self.scenes) for number in numbers]] = latents.to(torch.bfloat16)

    def _scene(self, generator: torch.Generator) -> Scene:
        kind = float(torch.rand(1, generator=generator))
        things, event = 1 + (kind < self.config.pairs), 1 - kind < self.config.events
        return draw_scene(generator, things=things, held_out=False, event=event)

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, list[str]]:
        """Return random clips ``[count, Z, F, H, W]`` and a caption for each, worded at random."""
        places = torch.randint(len(self.scenes), (count,), generator=generator)
        coins = torch.rand(count, 2, generator=generator)
        scenes = [scene for place in places.tolist() if (scene := self.scenes[place]) is not None]
        texts = [
            caption(scene, sizes=bool(a > 0.1), background_last=bool(b > 0.3))
            for scene, (a, b) in zip(scenes, coins, strict=True)
        ]
        return self.latents[places].float(), texts
