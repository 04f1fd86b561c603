"""A linear video autoencoder: the principal components of small space-time patches, fitted in closed form."""

import math

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from genkit.tiny.models.seams import SeamDecoder


class DeterministicLatents:
    """A latent distribution without variance, so that ``sample`` and ``mode`` agree."""

    def __init__(self, latents: Tensor) -> None:
        self.latents = latents

    def mode(self) -> Tensor:
        """Return the latents ``[B, Z, F, H, W]``."""
        return self.latents

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Return the same latents; the generator is not used."""
        return self.latents


class PatchAutoencoder(ModelMixin, ConfigMixin):
    """Videos ``[B, 3, 1 + k (F - 1), k' H, k' W]`` in [-1, 1] to latents ``[B, Z, F, H, W]`` and back.

    ``k`` is ``scale_factor_temporal`` (pixel frames per latent frame) and ``k'`` is ``scale_factor_spatial``. The first
    frame is separate, as in Wan: it is repeated ``k`` times for encoding and averaged in decoding, so that a single
    image uses the same components as a clip. ``latents_mean`` and ``latents_std`` have ``WanPipeline``'s meaning:
    normalised latents are ``(z - mean) / std``. ``world`` is the version of the world that the model beside it learned.
    With ``seams`` a small convolutional network adds what it finds in the patches around each one.
    """

    @register_to_config
    def __init__(
        self,
        z_dim: int = 32,
        scale_factor_temporal: int = 2,
        scale_factor_spatial: int = 8,
        latents_mean: tuple[float, ...] = (0.0,) * 32,
        latents_std: tuple[float, ...] = (1.0,) * 32,
        world: int = 1,
        seams: bool = False,
    ) -> None:
        super().__init__()
        size = 3 * scale_factor_temporal * scale_factor_spatial**2
        self.components = nn.Parameter(torch.eye(z_dim, size))  # orthonormal rows
        self.center = nn.Parameter(torch.zeros(size))
        self.seam_decoder = SeamDecoder(z_dim, scale_factor_temporal, latents_std) if seams else None

    @property
    def temperal_downsample(self) -> list[bool]:
        """Halvings of height and width, True where time is halved too, as ``WanVideoToVideoPipeline`` reads them."""
        times, halvings = self.config.scale_factor_temporal, self.config.scale_factor_spatial
        return [place < math.log2(times) for place in range(int(math.log2(halvings)))]

    def _patches(self, video: Tensor) -> Tensor:
        kt, ks = self.config.scale_factor_temporal, self.config.scale_factor_spatial
        video = torch.cat([video[:, :, :1].repeat(1, 1, kt - 1, 1, 1), video], dim=2)
        b, c, t, h, w = video.shape
        if t % kt or h % ks or w % ks:
            raise ValueError(
                f"a clip of {t - kt + 1} frames of {h}x{w} does not fit: it needs 1 + {kt} n frames and sides in "
                f"multiples of {ks}"
            )
        blocks = video.reshape(b, c, t // kt, kt, h // ks, ks, w // ks, ks)
        return blocks.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4)  # [B, F, H, W, 3 kt ks ks]

    def project(self, x: Tensor) -> Tensor:
        """Return the latents ``[B, Z, F, H, W]`` of a video, before ``latents_mean`` and ``latents_std``."""
        latents: Tensor = (self._patches(x) - self.center) @ self.components.T
        return latents.permute(0, 4, 1, 2, 3).contiguous()

    def encode(self, x: Tensor, return_dict: bool = True) -> AutoencoderKLOutput | tuple[DeterministicLatents]:
        """Project a video on the components."""
        found = DeterministicLatents(self.project(x))
        return AutoencoderKLOutput(latent_dist=found) if return_dict else (found,)

    def decode(self, z: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """Sum the components to a video in [-1, 1]."""
        return self._decode(z, return_dict)

    def _decode(self, z: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        video = self.decode_freely(z).clamp(-1, 1)
        return DecoderOutput(sample=video) if return_dict else (video,)

    def decode_freely(self, z: Tensor) -> Tensor:
        """Return the video before values beyond [-1, 1] are cut."""
        kt, ks = self.config.scale_factor_temporal, self.config.scale_factor_spatial
        patches = z.permute(0, 2, 3, 4, 1) @ self.components + self.center
        b, f, h, w, _ = patches.shape
        blocks = patches.reshape(b, f, h, w, 3, kt, ks, ks).permute(0, 4, 1, 5, 2, 6, 3, 7)
        video = blocks.reshape(b, 3, f * kt, h * ks, w * ks)
        if self.seam_decoder is not None:
            video = video + self.seam_decoder(z)
        first = video[:, :, :kt].mean(dim=2, keepdim=True)
        return torch.cat([first, video[:, :, kt:]], dim=2)

    @classmethod
    def fit(
        cls, videos: Tensor, z_dim: int, scale_factor_temporal: int, scale_factor_spatial: int
    ) -> "PatchAutoencoder":
        """Compute the components in closed form from videos ``[B, 3, T, H, W]`` in [-1, 1].

        ``latents_std`` is the square root of each channel's deviation, scaled to a mean variance of 1: the coarse
        channels keep more of the signal than the fine ones, and the fine ones do not vanish in the noise.
        """
        shape = {"scale_factor_temporal": scale_factor_temporal, "scale_factor_spatial": scale_factor_spatial}
        patches = cls(z_dim=z_dim, **shape)._patches(videos).flatten(0, 3).double()
        center = patches.mean(0)
        covariance = (patches - center).T @ (patches - center) / len(patches)
        variance, directions = torch.linalg.eigh(covariance)
        deviation = variance[-z_dim:].flip(0).clamp_min(0).sqrt()
        std = deviation.sqrt() * math.sqrt(float(deviation.mean()))
        fitted = cls(z_dim=z_dim, latents_mean=(0.0,) * z_dim, latents_std=tuple(std.tolist()), **shape)
        fitted.components.data = directions[:, -z_dim:].flip(1).T.float().contiguous()
        fitted.center.data = center.float()
        return fitted
