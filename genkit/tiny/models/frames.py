"""The autoencoder of single pictures: each frame of a clip is coded as the first frame of ``PatchAutoencoder``'s is."""

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor

from genkit.tiny.autoencoder import DeterministicLatents, PatchAutoencoder


class FrameAutoencoder(ModelMixin, ConfigMixin):
    """Pictures ``[N, 3, 8 H, 8 W]`` in [-1, 1] to normalised latents ``[N, Z, H, W]`` and back.

    The four entries of ``block_out_channels`` say to stock pipelines that a latent pixel has a side of eight pixels.
    """

    @register_to_config
    def __init__(
        self,
        z_dim: int = 48,
        latents_std: tuple[float, ...] = (1.0,) * 48,
        scaling_factor: float = 1.0,
        block_out_channels: tuple[int, ...] = (1, 1, 1, 1),
        world: int = 2,
        seams: bool = False,
    ) -> None:
        super().__init__()
        self.patches = PatchAutoencoder(
            z_dim, 2, 8, latents_mean=(0.0,) * z_dim, latents_std=latents_std, world=world, seams=seams
        )

    @classmethod
    def of(cls, vae: PatchAutoencoder) -> "FrameAutoencoder":
        """Return the autoencoder of single pictures with the weights of one of clips."""
        made = cls(
            vae.config.z_dim, tuple(vae.config.latents_std), world=vae.config.world, seams=vae.seam_decoder is not None
        )
        made.patches.load_state_dict(vae.state_dict())
        return made

    def project(self, x: Tensor) -> Tensor:
        """Return the normalised latents ``[N, Z, H, W]`` of pictures."""
        latents: Tensor = self.patches.project(x[:, :, None])[:, :, 0] / self._std(x)
        return latents

    def encode(self, x: Tensor, return_dict: bool = True) -> AutoencoderKLOutput | tuple[DeterministicLatents]:
        """Project pictures on the components."""
        found = DeterministicLatents(self.project(x))
        return AutoencoderKLOutput(latent_dist=found) if return_dict else (found,)

    def decode(self, z: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """Sum the components to pictures in [-1, 1]."""
        pictures = self.patches.decode((z * self._std(z))[:, :, None]).sample[:, :, 0]
        return DecoderOutput(sample=pictures) if return_dict else (pictures,)

    def _std(self, like: Tensor) -> Tensor:
        return like.new_tensor(self.config.latents_std)[:, None, None]
