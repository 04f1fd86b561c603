"""The form of an entry: the released configuration of a denoising model, and what the facts should read from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
from diffusers.configuration_utils import FrozenDict

DIFFUSERS = "https://github.com/huggingface/diffusers/blob/main"
STRIDES = ("vae_scale_factor_temporal", "vae_temporal_compression_ratio", "vae_temporal_scale_factor")
SIZES = ("vae_scale_factor_spatial", "vae_spatial_compression_ratio", "vae_spatial_scale_factor", "vae_scale_factor")


@dataclass(frozen=True, kw_only=True)
class Released:
    """One released configuration as a public source shows it. Only values that differ from the defaults of the model's
    class, and figures; the numbers of tokens were counted by hand or are the publisher's own."""

    hub_ids: tuple[str, ...]
    """Checkpoints with this configuration."""
    source: str
    """Address of the page or file that shows it."""
    family: str
    """The family that the facts should choose."""
    pipeline: str
    """Class of the pipeline."""
    model: str
    """Class of the denoising model."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Values of the model's configuration."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Values of the pipeline's configuration."""
    complete: bool = True
    """False where the source leaves out values that change the number of parameters."""
    parts: Mapping[str, Any] = field(default_factory=dict)
    """Further components that the facts look at."""
    controls: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Further models that rules enter, each with its class and configuration."""
    experts: int = 1
    """How many such models the checkpoint has."""
    component: str = "transformer"
    """Name of the component."""
    strides: tuple[int, int]
    """Pixel frames per latent frame, and pixels per latent row."""
    clip: tuple[int, int, int]
    """Pixel frames, height and width of the training clips or of the publisher's default."""
    fps: float
    """Pixel frames per second of those."""
    latents: tuple[int, int, int]
    """Latent frames, rows and columns that the pipeline makes of them."""
    tokens: int
    """Tokens of the video in the first block."""
    layers: Mapping[str, int]
    """Attention modules of each kind."""
    heads: int | None
    """Attention heads of the first layer."""
    billions: float | None = None
    """Parameters that the publisher names, all experts together; None: no figure was found that is not our count."""
    within: float = 0.03
    """Relative distance that the publisher's rounding explains."""

    def build(self) -> Any:
        """Return a pipeline of the class whose models have the configuration and no weights."""
        pipe = object.__new__(getattr(diffusers, self.pipeline))
        with torch.device("meta"):
            models = [getattr(diffusers, self.model)(**self.config) for _ in range(self.experts)]
            controls = {name: getattr(diffusers, kind)(**config) for name, (kind, config) in self.controls.items()}
        names = (self.component, f"{self.component}_2")
        time, size = self.strides
        vars(pipe).update(dict.fromkeys(STRIDES, time) | dict.fromkeys(SIZES, size) | dict(self.parts) | controls)
        vars(pipe).update(zip(names, models, strict=False), _internal_dict=FrozenDict(self.settings))
        return pipe
