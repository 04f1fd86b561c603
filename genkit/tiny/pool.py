"""Training clips: rendered while the model learns, encoded once, and kept for a while."""

import torch
from torch import Tensor

from genkit.tiny.autoencoder import PatchAutoencoder
from genkit.tiny.world import NATIVE_FRAMES, NATIVE_SIDE, Scene, caption, draw_scene, render

LATENTS = (9, 8, 8)
"""Latent frames, rows and columns of a native clip."""


class Pool:
    """Encoded clips and their scenes, of which a few are renewed in every step."""

    def __init__(self, vae: PatchAutoencoder, size: int, pairs: float, seed: int) -> None:
        self.vae, self.pairs, self.generator = vae, pairs, torch.Generator().manual_seed(seed)
        self.std = torch.tensor(vae.config.latents_std)[:, None, None, None]
        self.scenes: list[Scene] = []
        self.latents = torch.empty(size, vae.config.z_dim, *LATENTS, dtype=torch.bfloat16)
        while len(self.scenes) < size:
            self.renew(min(200, size - len(self.scenes)))

    def renew(self, count: int) -> None:
        """Draw new clips, into empty places first, then over random old ones."""
        two = (torch.rand(count, generator=self.generator) < self.pairs).tolist()
        scenes = [draw_scene(self.generator, things=1 + pair, held_out=False) for pair in two]
        clips = render(scenes, self.generator, num_frames=NATIVE_FRAMES, side=NATIVE_SIDE)
        with torch.no_grad():
            latents = self.vae.project(clips.movedim(2, 1) * 2 - 1) / self.std
        room = len(self.latents) - len(self.scenes)
        if room >= count:
            places = torch.arange(len(self.scenes), len(self.scenes) + count)
            self.scenes += scenes
        else:
            places = torch.randint(len(self.latents), (count,), generator=self.generator)
            for place, scene in zip(places.tolist(), scenes, strict=True):
                self.scenes[place] = scene
        self.latents[places] = latents.to(torch.bfloat16)

    def sample(self, count: int) -> tuple[Tensor, list[str]]:
        """Return random clips ``[count, Z, F, H, W]`` and a caption for each, worded at random."""
        places = torch.randint(len(self.latents), (count,), generator=self.generator)
        coins = torch.rand(count, 2, generator=self.generator)
        texts = [
            caption(self.scenes[p], sizes=bool(a > 0.1), background_last=bool(b > 0.3))
            for p, (a, b) in zip(places.tolist(), coins, strict=True)
        ]
        return self.latents[places].float(), texts
