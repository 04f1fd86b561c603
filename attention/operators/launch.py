"""Launch numbers of the Triton kernels, as one table for each operator.

One choice serves the kernels, ``genkit bench tune`` and the ahead-of-time tests.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

MIN_TILE = 16
"""Fewest rows or keys of a tile; tensor cores multiply no smaller ones."""


@dataclass(frozen=True)
class Launch:
    """Numbers that a kernel is started with; 0 for a tile that the kernel does not choose."""

    queries: int
    """Rows that a program writes at once; a power of two."""
    keys: int
    """Rows that a program reads at once, such as keys or means of blocks; a power of two."""
    warps: int
    """Warps of a program."""
    stages: int
    """Loads in flight at once."""

    def keywords(self) -> dict[str, int]:
        """Return warps and stages as Triton takes them."""
        return {"num_warps": self.warps, "num_stages": self.stages}


@dataclass(frozen=True)
class Entry:
    """One row of a table: launch numbers, and the calls that they are for."""

    launch: Launch
    chip: int = 0
    """Min compute capability, 90 for sm_90; 0 includes the interpreter."""
    width: int | None = None
    """Max channels of a head; None is any."""
    itemsize: int | None = None
    """Max bytes of an element: 2 is float16 and bfloat16; None is any."""

    def covers(self, chip: int, width: int, dtype: torch.dtype) -> bool:
        """Return whether the numbers are for this call."""
        wide = self.width is not None and width > self.width
        large = self.itemsize is not None and dtype.itemsize > self.itemsize
        return chip >= self.chip and not wide and not large


@dataclass(frozen=True)
class LaunchTable:
    """Launch numbers of one operator."""

    entries: tuple[Entry, ...]
    """The first that covers a call is used; the last covers all."""
    inside_block: bool = False
    """Whether a tile is a part of one block, and so never wider than a block needs."""

    def choose(self, chip: int, width: int, dtype: torch.dtype, block: int) -> Launch:
        """Return the numbers for heads of ``width`` channels in blocks of ``block`` tokens.

        Args:
            chip: compute capability, 90 for sm_90; 0 is the interpreter.
            width: channels of a head.
            dtype: of the tensors that are read.
            block: tokens of a block, which matter ``inside_block``; 0 for an operator without blocks.
        """
        best = next(entry.launch for entry in self.entries if entry.covers(chip, width, dtype))
        if not self.inside_block:
            return best
        room = max(MIN_TILE, 1 << (block - 1).bit_length())
        return Launch(min(best.queries, room), min(best.keys, room), best.warps, best.stages)

    def choose_for(self, x: Tensor, block: int) -> Launch:
        """Return the numbers for a tensor ``[B, H, N, D]`` on its device; see ``choose``."""
        return self.choose(chip_of(x.device), x.shape[3], x.dtype, block)


def chip_of(device: torch.device) -> int:
    """Return the compute capability of a device, 90 for sm_90; 0 if it is not a GPU."""
    if device.type != "cuda":
        return 0
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor
