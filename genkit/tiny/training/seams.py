"""The convolutional decoder as it learns: exact clips, from latents that are a little wrong."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genkit.tiny.autoencoder import PatchAutoencoder
from genkit.tiny.motions import World
from genkit.tiny.tally import held_out_scenes
from genkit.tiny.training.clips import SEED, Clips
from genkit.tiny.training.config import TrainConfig
from genkit.tiny.training.learner import Learner
from genkit.tiny.world import NATIVE_SIDE, draw_scene, render

MAX_ERROR = 0.08
"""Maximum standard deviation of what is added to normalised latents, because a model does not draw them exactly."""


class SeamLearner(Learner):
    """A frozen linear autoencoder whose decoder of seams learns."""

    def __init__(self, vae: PatchAutoencoder, world: World) -> None:
        super().__init__(world)
        self.vae = PatchAutoencoder(**{**_settings(vae), "seams": True})
        self.vae.load_state_dict(vae.state_dict(), strict=False)
        for name, parameter in self.vae.named_parameters():
            parameter.requires_grad_(name.startswith("seam_decoder."))

    def blocks(self) -> Iterable[nn.Module]:
        """Return nothing: the network is too small to be worth compiling."""
        return ()

    def clips(self, vae: PatchAutoencoder, config: TrainConfig) -> Clips:
        """Return an empty pool: this network learns from pixels of its own."""
        return Clips(vae.project, self.world, self.world.native_frames, config)

    def learn(self, clips: Any, config: TrainConfig, step: int, device: str) -> float:
        """Decode the latents of new clips, with an error of random size, and compute gradients; return the loss."""
        generator = torch.Generator().manual_seed(SEED + step)
        scenes = [draw_scene(generator, things=1 + i % 2, held_out=False) for i in range(config.batch)]
        video = self._render(scenes, generator).to(device)
        std = torch.tensor(self.vae.config.latents_std, device=device)[:, None, None, None]
        latents = self.vae.project(video)
        error = MAX_ERROR * torch.rand(len(scenes), 1, 1, 1, 1, generator=generator).square()
        latents = latents + (error * torch.randn(latents.shape, generator=generator)).to(device) * std
        with torch.autocast(device, torch.bfloat16):
            decoded = self.vae.decode_freely(latents)
        loss = (decoded.float() - video).square().mean()
        loss.backward()
        return float(loss.detach())

    def watch(self, vae: PatchAutoencoder, prompts: int) -> dict[str, Any]:
        """Return the signal-to-noise ratio of held-out renders, in dB, with the network and without it."""
        video = self._render(held_out_scenes(prompts, 7, self.world), torch.Generator().manual_seed(7))
        with torch.no_grad():
            latents = self.vae.project(video)
            return {
                "psnr": round(psnr(self.vae.decode(latents, return_dict=False)[0], video), 2),
                "psnr_linear": round(psnr(vae.decode(latents, return_dict=False)[0], video), 2),
            }

    def export(self, out: Path, vae: PatchAutoencoder) -> None:
        """Write the autoencoder with its network, in float16."""
        self.vae.half().save_pretrained(out / "decoder")

    def _render(self, scenes: list[Any], generator: torch.Generator) -> Tensor:
        frames = self.world.native_frames
        clips = render(scenes, generator, num_frames=frames, side=NATIVE_SIDE, world=self.world)
        return clips.movedim(2, 1) * 2 - 1


def psnr(found: Tensor, wanted: Tensor) -> float:
    """Return the peak signal-to-noise ratio in dB of pictures in [-1, 1]."""
    return float(10 * torch.log10(4 / (found.float() - wanted).square().mean()))


def _settings(vae: PatchAutoencoder) -> dict[str, Any]:
    return {name: value for name, value in vae.config.items() if not name.startswith("_")}
