"""Which implementation an operator takes: its Triton kernel or its definition."""

from importlib import import_module
from types import ModuleType

from torch import Tensor


def kernel_of(operator: str, impl: str, x: Tensor, *limits: int, others: tuple[str, ...] = ()) -> ModuleType | None:
    """The module of an operator's kernel if a call goes to it, None if it goes to the definition.

    ``"auto"`` takes the kernel on a CUDA device where the kernel can do the call; an explicit choice never falls back.

    Args:
        operator: folder of the operator in ``genkit.attention``.
        impl: ``"auto"``, ``"triton"``, ``"reference"`` or one of ``others``.
        x: the tensor that decides, its device and dtype.
        limits: what else the kernel's ``refusal`` asks for, such as the size of blocks.
        others: further ways to compute what the definition says, which are no kernel.

    Raises:
        ValueError: an unknown choice, or ``"triton"`` for a call that the kernel cannot do.
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
