"""Causal decoders whose cache diffusers leaves out (Mochi): the padding before a piece is what came before it.

Each causal convolution repeats the first frame of what it is given. At the beginning of a video that is its padding; in
a later piece the same place takes the last frames of the piece before, so each frame is computed from the same numbers
as at once. They differ by rounding alone, where a convolution computes otherwise at another length.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from genkit.decoding.carrying import Carrying
from genkit.decoding.cut import Cut, spans
from genkit.decoding.twin import decode, twin_of
from genkit.errors import GenkitError


class PaddingMemory(Carrying):
    """The decoder of Mochi, with the last frames that each of its convolutions was given."""

    def forward(self, z: Tensor, conv_cache: Any = None) -> tuple[Tensor, Any]:
        """Decode one tile of a piece."""
        memory = self.next_tile() or {}
        self.memories[self.tile] = memory
        causal = [module for module in self.decoder.modules() if getattr(module, "time_pad", 0)]
        with _remembered(causal, memory):
            out: tuple[Tensor, Any] = self.decoder(z, conv_cache=conv_cache)
        if any(module.conv not in memory for module in causal):
            raise GenkitError(
                "stream-decode could not see the convolutions of the autoencoder's decoder, as happens with a compiled "
                "one; decode with one that is not compiled, or leave stream-decode out"
            )
        return out


@contextmanager
def _remembered(causal: list[Any], memory: dict[nn.Module, Tensor]) -> Iterator[None]:
    """Fill the padding in front of each convolution from ``memory``, in calls of this thread."""
    with ExitStack() as stack:
        for module in causal:
            fill = partial(_fill, memory, module.time_pad, threading.get_ident())
            stack.callback(module.conv.register_forward_pre_hook(fill).remove)
        yield


def _fill(memory: dict[nn.Module, Tensor], frames: int, thread: int, conv: nn.Module, given: tuple[Tensor]) -> None:
    if threading.get_ident() != thread:
        return
    padded = given[0]  # ours to write into: the padding has just made it
    if conv in memory:
        padded[:, :, :frames] = memory[conv]
    memory[conv] = padded[:, :, -frames:].clone()


def mochi(vae: Any, z: Tensor, cut: Cut) -> Iterator[Tensor]:
    """Decode in multiples of the autoencoder's own batch.

    Where its user has set ``use_framewise_decoding``, batches know nothing of one another in diffusers, and so here.
    """
    batch = vae.num_latent_frames_batch_size
    step = max((cut.frames or batch) // batch, 1) * batch
    carrying = None if vae.use_framewise_decoding else PaddingMemory(vae.decoder)
    twin = twin_of(vae, {} if carrying is None else {"decoder": carrying})
    for start, end in spans(z.shape[2], step, step):
        twin.drop_last_temporal_frames = vae.drop_last_temporal_frames and start == 0
        if carrying is not None:
            carrying.begin(first=start == 0)
        yield decode(twin, z[:, :, start:end])
