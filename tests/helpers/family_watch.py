"""See what diffusers' pipelines really do: the forwards of the denoisers and the attention calls inside them."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from family_facts import EXPECTED
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

DENOISERS = ("transformer", "transformer_2", "unet")


@dataclass(frozen=True)
class Seen:
    """One attention call inside a denoiser."""

    model: str
    layer: str
    forward: int
    """Number of the forward among those of all denoisers."""
    query: Tensor
    key: Tensor
    mask: Tensor | None


class Watch(TorchFunctionMode):
    """Record the forwards of the denoisers (``forwards``: model and arguments) and their attention calls (``seen``).

    ``steps`` is what the scheduler's ``step_index`` was at each forward. With ``zero``, the attention of that kind
    gives zeros instead.
    """

    def __init__(self, name: str, pipe: Any, zero: str | None = None) -> None:
        super().__init__()
        self.expected, self.zero = EXPECTED[name], zero
        self.seen: list[Seen] = []
        self.forwards: list[tuple[str, dict[str, Any]]] = []
        self.steps: list[int | None] = []
        self.frames: Any = None
        self.inside: list[str] = []
        self.pipe = pipe
        self.handles: list[Any] = []

    def __enter__(self) -> "Watch":
        for model in DENOISERS:
            if isinstance(module := getattr(self.pipe, model, None), nn.Module):
                self._follow(model, module)
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self.handles:
            handle.remove()
        super().__exit__(kind, value, trace)

    def _follow(self, model: str, module: nn.Module) -> None:
        def begin(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.inside.append("no attention module")
            self.forwards.append((model, {**dict(zip(("sample", "timestep"), args, strict=False)), **kwargs}))
            self.steps.append(getattr(self.pipe.scheduler, "step_index", None))

        def enter(layer: str) -> Any:
            return lambda *_: self.inside.append(layer)

        def leave(*_: Any) -> None:
            self.inside.pop()

        self.handles += [
            module.register_forward_pre_hook(begin, with_kwargs=True),
            module.register_forward_hook(leave),
        ]
        for layer, attention in attention_modules(module).items():
            self.handles += [
                attention.register_forward_pre_hook(enter(layer)),
                attention.register_forward_hook(leave),
            ]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func is not scaled_dot_product_attention or not self.inside:
            return out
        given = {**dict(zip(("query", "key", "value", "attn_mask"), args, strict=False)), **kwargs}
        layer, model = self.inside[-1], self.forwards[-1][0]
        forward = len(self.forwards) - 1
        self.seen.append(Seen(model, layer, forward, given["query"], given["key"], given.get("attn_mask")))
        return torch.zeros_like(out) if self.zero and self.expected.kind(layer) == self.zero else out


def attention_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Every module that projects to queries, by name."""
    return {name: module for name, module in model.named_modules() if hasattr(module, "to_q")}
