"""A small convolutional decoder: what a patch's own components cannot show, from the patches around it."""

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Two 3x3 convolutions whose result is added to their input ``[N, C, H, W]``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input and its correction."""
        corrected: Tensor = x + self.second(nn.functional.silu(self.first(nn.functional.silu(x))))
        return corrected


class Upsample(nn.Sequential):
    """A picture of twice the side: ``[N, C, H, W]`` to ``[N, C', 2 H, 2 W]``."""

    def __init__(self, width: int, wanted: int) -> None:
        super().__init__(nn.Conv2d(width, 4 * wanted, 1), nn.PixelShuffle(2))


class SeamDecoder(nn.Module):
    """What to add to the linear decoder's pixels, ``[B, 3, k F, 8 H, 8 W]``, from latents ``[B, Z, F, H, W]``.

    Every latent frame is decoded on its own, so that a video can be decoded piece by piece; in space each pixel depends
    on all patches up to five away. The last convolution begins with zeros: an untrained decoder adds nothing.
    """

    scale: Tensor
    """What latents are divided by, ``[channels, 1, 1]``."""

    def __init__(self, channels: int, frames: int, scale: tuple[float, ...]) -> None:
        super().__init__()
        self.frames = frames
        self.register_buffer("scale", torch.tensor(scale)[:, None, None], persistent=False)
        self.net = nn.Sequential(
            nn.Conv2d(channels, 80, 3, padding=1),
            Residual(80),
            Upsample(80, 48),
            Residual(48),
            Upsample(48, 32),
            Residual(32),
            nn.SiLU(),
            nn.Conv2d(32, 3 * frames * 4, 3, padding=1),
            nn.PixelShuffle(2),
        )
        last = self.net[-2]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, z: Tensor) -> Tensor:
        """Return the correction of each pixel."""
        b, _, f, h, w = z.shape
        pictures = self.net(z.transpose(1, 2).flatten(0, 1) / self.scale)
        video: Tensor = pictures.reshape(b, f, 3, self.frames, 8 * h, 8 * w).permute(0, 2, 1, 3, 4, 5)
        return video.reshape(b, 3, f * self.frames, 8 * h, 8 * w)
