"""StreamDecode: the frames of a long video leave the autoencoder piece by piece."""

from dataclasses import dataclass
from typing import ClassVar

from genkit.decoding.cut import Cut
from genkit.decoding.streaming import Streaming
from genkit.errors import UsageError
from genkit.plugins.contract import Parts, Target


@dataclass(frozen=True, kw_only=True)
class StreamDecode:
    """Longer videos: latents are decoded piece by piece, and the memory of decoding is the same at every length.

    Each piece begins with what a causal autoencoder remembers of the one before (Wan, CogVideoX: its own cache, and the
    same frames bit for bit; Mochi: the last inputs of its convolutions, which diffusers does not keep). HunyuanVideo is
    decoded in its own temporal tiles; LTX, which looks ahead, with ``overlap`` latent frames on either side. Pixels go
    to main memory as they come. Spatial tiling and slicing stay as the user has set them. Source: arXiv 2503.20314,
    section 4.1 (feature cache); diffusers has that cache, but joins all frames on the device.
    """

    name: ClassVar[str] = "stream-decode"
    title: ClassVar[str] = "StreamDecode"
    paper: ClassVar[str] = "arXiv 2503.20314"
    seams: ClassVar[tuple[str, ...]] = ("decode",)
    claims: ClassVar[frozenset[str]] = frozenset({"decode"})

    frames: int | None = None
    """Latent frames of a piece, in whole batches where the autoencoder has some; None is the smallest that it has
    itself, and 16 for LTX."""
    overlap: int = 8
    """Latent frames decoded on either side of a piece and not kept, for LTX alone; with random weights of its real
    depth 8 leave about 4 levels of 255 at the seams and 12 leave none."""

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 1:
            raise UsageError(f"stream-decode: frames={self.frames} must be at least 1 latent frame")
        if self.overlap < 1:
            raise UsageError(f"stream-decode: overlap={self.overlap} must be at least 1 latent frame")

    def parts(self, target: Target) -> Parts:
        """Return the decode plan; whether it can decode with an autoencoder is checked as it is applied."""
        return Parts(decode=Streaming(name=self.name, cut=Cut(frames=self.frames, overlap=self.overlap)))
