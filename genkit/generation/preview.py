"""A preview of the finished video, during the run."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genkit.attention.private import MODEL_OUTPUTS

if TYPE_CHECKING:
    from genkit.video.video import Video


def preview(
    pipe: Any, latents: Tensor, fps: float, heading: Callable[[Tensor], Tensor | None] = lambda latents: None
) -> "Video | None":
    """Decode the solver's current estimate of the clean latents.

    Only the embedded model has a preview: its autoencoder is one matrix and takes a few milliseconds. Those of large
    models take as long as a step or more.

    Args:
        latents: after the last step, ``[1, Z, F, H, W]``.
        fps: of the video.
        heading: returns the clean latents if a plan of turns knows them, and None to ask the solver.

    Returns:
        The estimate; None if decoding would cost too much.
    """
    from genkit.decoding.twin import twin_of
    from genkit.tiny.autoencoder import PatchAutoencoder
    from genkit.video.video import Video

    vae = getattr(pipe, "vae", None)
    if not isinstance(vae, PatchAutoencoder):
        return None
    with torch.no_grad():
        found = heading(latents)
        estimate = (_estimate(pipe.scheduler, latents) if found is None else found).to(vae.dtype)
        mean, std = (torch.tensor(vae.config[name]).to(estimate) for name in ("latents_mean", "latents_std"))
        frames = twin_of(vae).decode(estimate * std.view(-1, 1, 1, 1) + mean.view(-1, 1, 1, 1)).sample[0]
    return Video(((frames + 1) / 2).float().permute(1, 2, 3, 0).cpu().numpy(), fps)


def _estimate(scheduler: Any, latents: Tensor) -> Tensor:
    """Return the clean latents that UniPC stores; of another solver the noisy latents themselves.

    Source: the data prediction of UniPC, arXiv 2302.04867.
    """
    kept = (MODEL_OUTPUTS.find(scheduler) or [None])[-1]
    clean = getattr(scheduler.config, "predict_x0", False) and isinstance(kept, Tensor) and kept.shape == latents.shape
    return kept if clean else latents
