"""Devices that share the heads of each attention call: diffusers' Ulysses context parallelism, and tensor parallelism.

Between the layers each device has a part of the tokens. For self-attention they exchange: each device gets all tokens
of a part of the heads, so comparing heads requires communication.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from genkit.attention.private import ULYSSES_MESH, context_parallel, tensor_parallel


@dataclass(frozen=True)
class Devices:
    """The devices that share the heads of one model."""

    group: Any
    """Their process group; None in tensor parallelism, where heads cannot be gathered."""
    rank: int
    """Rank of this device."""
    count: int

    def gather_heads(self, x: Tensor) -> tuple[Tensor, slice]:
        """Gather ``[B, H, ..]`` from ``[B, heads of this device, ..]``; return it and the slice of this device's heads.

        A collective operation: every device must call it equally often.
        """
        import torch.distributed as dist

        sizes = [torch.zeros(1, dtype=torch.int64, device=x.device) for _ in range(self.count)]
        dist.all_gather(sizes, torch.tensor([x.shape[1]], device=x.device), group=self.group)
        heads = [int(size) for size in sizes]
        even = pad(x.transpose(0, 1).flatten(1), (0, 0, 0, max(heads) - x.shape[1])).contiguous()
        parts = [torch.empty_like(even) for _ in heads]
        dist.all_gather(parts, even, group=self.group)
        rows = torch.cat([part[:size] for part, size in zip(parts, heads, strict=True)])
        begin = sum(heads[: self.rank])
        return rows.unflatten(1, (x.shape[0], *x.shape[2:])).transpose(0, 1), slice(begin, begin + x.shape[1])

    def tokens_here(self, tokens: int) -> range:
        """Return which of ``tokens`` this device has between self-attention calls; all in tensor parallelism."""
        if self.group is None:
            return range(tokens)
        share, more = divmod(tokens, self.count)  # the first ``more`` devices have one more
        begin = self.rank * share + min(self.rank, more)
        return range(begin, begin + share + (self.rank < more))


def devices_of(model: nn.Module) -> Devices | None:
    """Return the devices that share the heads of ``model``; None for a model on one device."""
    context = context_parallel(model)
    count = getattr(context, "ulysses_degree", None) or 1
    if count > 1:
        mesh = ULYSSES_MESH.read(context)
        return Devices(mesh.get_group(), mesh.get_local_rank(), count)
    tensors = tensor_parallel(model)
    return None if tensors is None else Devices(None, 0, getattr(tensors, "tp_degree", 2))
