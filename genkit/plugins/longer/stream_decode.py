"""StreamDecode: decode a long video piece by piece."""

from dataclasses import dataclass
from typing import ClassVar

from genkit.decoding.cut import Cut
from genkit.decoding.streaming import Streaming
from genkit.errors import UsageError
from genkit.plugins.contract import Parts, Target


@dataclass(frozen=True, kw_only=True)
class StreamDecode:
    """Longer videos: latents are decoded piece by piece, with constant memory at every length.

    A causal autoencoder continues each piece from its state after the previous one (Wan, CogVideoX: its own cache, with
    bit-identical frames; Mochi: the last inputs of its convolutions, which diffusers does not store). HunyuanVideo is
    decoded in its own temporal tiles, and LTX, which looks ahead, with ``overlap`` latent frames on either side. Pixels
    move to main memory immediately. Spatial tiling and slicing stay as set by the user. Source: arXiv 2503.20314,
    section 4.1 (feature cache); diffusers has that cache, but joins all frames on the device.
    """

    name: ClassVar[str] = "stream-decode"
    title: ClassVar[str] = "StreamDecode"
    paper: ClassVar[str] = "arXiv 2503.20314"
    seams: ClassVar[tuple[str, ...]] = ("decode",)
    claims: ClassVar[frozenset[str]] = frozenset({"decode"})

    frames: int | None = None
    """Latent frames of a piece, in whole batches if the autoencoder has them; None is the autoencoder's own smallest
    piece, and 16 for LTX."""
    overlap: int = 8
    """Latent frames decoded on either side of a piece and discarded, only for LTX; with random weights and its real
    depth, 8 leave an error of about 4 levels of 255 at the seams, 12 leave none."""

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 1:
            raise UsageError(f"stream-decode: frames={self.frames} must be at least 1 latent frame")
        if self.overlap < 1:
            raise UsageError(f"stream-decode: overlap={self.overlap} must be at least 1 latent frame")

    def parts(self, target: Target) -> Parts:
        """Return the decode plan; it checks the autoencoder when it is applied."""
        return Parts(decode=Streaming(name=self.name, cut=Cut(frames=self.frames, overlap=self.overlap)))
