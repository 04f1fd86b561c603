"""The choice of an operator's implementation: its Triton kernel or its definition."""

from importlib import import_module
from types import ModuleType

from torch import Tensor


def kernel_of(operator: str, impl: str, x: Tensor, *limits: int, others: tuple[str, ...] = ()) -> ModuleType | None:
    """Return the module of an operator's kernel if it computes a call, None if the definition does.

    ``"auto"`` is the kernel on a CUDA device if the kernel supports the call; an explicit choice never falls back.

    Args:
        operator: folder of the operator in ``genkit.attention``.
        impl: ``"auto"``, ``"triton"``, ``"reference"`` or one of ``others``.
        x: the tensor whose device and dtype decide.
        limits: further arguments of the kernel's ``refusal``, such as the size of blocks.
        others: further implementations that are not kernels.

    Raises:
        ValueError: an unknown choice, or ``"triton"`` for a call that the kernel does not support.
    """
    if impl not in ("auto", "triton", "reference", *others):
        raise ValueError(f"impl={impl!r} is unknown; known: {', '.join(('auto', 'triton', *others, 'reference'))}")
    if impl in ("reference", *others) or (impl == "auto" and x.device.type != "cuda"):
        return None
    kernel = import_module(f"genkit.attention.operators.{operator}.triton")
    reason = kernel.refusal(x, *limits)
    if reason and impl == "triton":
        raise ValueError(f"impl='triton' cannot do this call: {reason}; or use impl='auto'")
    return None if reason else kernel
