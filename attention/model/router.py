"""Routing of ``scaled_dot_product_attention`` in one attention module, on any backend that the user chose."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from genkit.attention.private import BACKEND, default_backend

NATIVE = "native"
Answer = Callable[[str | None, Tensor, Tensor, Tensor, dict[str, Any]], Tensor]
"""Called with the backend (None: PyTorch's own), ``q``, ``k``, ``v`` ``[B, H, N, D]`` and the other arguments."""


def routed(module: nn.Module, forward: Callable[[], Any], answer: Answer) -> Any:
    """Return ``forward()`` of an attention module, with ``answer`` in place of ``scaled_dot_product_attention``."""
    processor: Any = getattr(module, "processor", None)
    chosen, has_choice = BACKEND.find(processor), BACKEND.is_in(processor)
    if has_choice:
        BACKEND.write(processor, NATIVE)
    try:
        with _Router(answer, _backend(chosen, has_choice)):
            return forward()
    finally:
        if has_choice:
            _restore(processor, chosen)


class _Router(TorchFunctionMode):
    def __init__(self, answer: Answer, backend: str | None) -> None:
        super().__init__()
        self.answer, self.backend = answer, backend

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        given = dict(zip(names, args, strict=False)) | kwargs
        q, k, v = (given.pop(name) for name in names[:3])
        return self.answer(self.backend, q, k, v, given)


def _backend(chosen: Any, has_choice: bool) -> str | None:
    """Attention backend that the user chose for a layer, or None for PyTorch's own."""
    if not has_choice:
        return None
    chosen = default_backend() if chosen is None else chosen
    name = str(getattr(chosen, "value", chosen))
    return None if name == NATIVE else name


def _restore(processor: Any, chosen: Any) -> None:
    """Restore a processor's choice; if the instance had none, the class attribute applies."""
    if chosen is None and BACKEND.read(type(processor)) is None:
        BACKEND.drop(processor)
    else:
        BACKEND.write(processor, chosen)
