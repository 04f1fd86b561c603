"""The receipt: a record of what a generation really did, as data and as a table."""

import platform
import sys

from genkit.record.fields import Attention, Density, Fields, Refusal, Seconds, Skipped
from genkit.record.receipt_table import table
from genkit.record.versions import version_of

__all__ = ["Attention", "Density", "Receipt", "Refusal", "Seconds", "Skipped", "peak_memory_bytes", "versions"]

MADE_WITH = ("genkit-video", "torch", "diffusers", "transformers", "triton")
"""Distributions whose versions can change the result."""


class Receipt(Fields):
    """Record of what a generation really did, as opposed to what was requested."""

    def with_note(self, sentence: str) -> "Receipt":
        """Return the same receipt with one more note."""
        return self.model_copy(update={"notes": (*self.notes, sentence)})

    def __str__(self) -> str:
        return table(self)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that can change the result."""
    found = {name: version_of(name) for name in MADE_WITH}
    return {"python": platform.python_version()} | {name: text for name, text in found.items() if text is not None}


def peak_memory_bytes(device: str) -> int | None:
    """Return the peak memory use so far, in bytes.

    On CUDA: memory allocated by torch on ``device`` since its counter was last reset. Elsewhere: the largest resident
    size of this process since it started; None on systems that do not count it.
    """
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
