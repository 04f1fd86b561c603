"""Trial of a token order: small forwards that show if a model returns the same for its tokens in another order.

Three forwards of two latent frames: without an order, with tokens reordered in every layer, which is correct in any
model, and with the order through all blocks. The last two must agree up to rounding, which the first two measure. They
do not if the model inserts other tensors between blocks (VACE) or depends on the place of a token in the sequence.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from genkit.attention.facts.model_facts import VolumeOf
from genkit.attention.facts.volume import Volume
from genkit.attention.model.order.hoist import Axes, Hoist, Place, axes_of, leaves
from genkit.attention.private import INNER_FORWARD, REFERENCE, cache_hooks

Arguments = dict[str, Any]
SMALL: tuple[Volume, Volume] = ((2, 3, 4), (2, 3, 6))
"""Volumes of the trial; the second one excludes axes that have the length of the tokens by chance."""


@dataclass(frozen=True)
class Trial:
    """Outcome of a trial."""

    axes: Axes | None
    """Axes of the tokens; None: the model must not be reordered."""
    reason: str = ""
    """Reason not to reorder, as the end of a sentence."""
    tried: bool = True
    """False if there were no forwards to compare, so that nothing is known."""


def signature_of(arguments: Arguments) -> tuple[Any, ...]:
    """Return the key of a trial: the arguments that are present and their numbers of axes."""
    ways = [(way, x.ndim) for way, x in leaves(arguments)]
    return (*ways, *(name for name, value in arguments.items() if value is not None))


def small(model: nn.Module, arguments: Arguments, volume_of: VolumeOf, wanted: Volume) -> Arguments:
    """Return similar arguments for a video of ``wanted`` tokens, with random values in place of the video."""
    return _Shrinking(model, arguments, volume_of, wanted).all()


class _Shrinking:
    def __init__(self, model: nn.Module, arguments: Arguments, volume_of: VolumeOf, wanted: Volume) -> None:
        self.arguments, self.wanted, self.volume = arguments, wanted, volume_of(model, arguments)
        self.latents: Tensor = arguments["hidden_states"]
        self.draw = torch.Generator().manual_seed(0)
        self._volume_of = lambda changed: volume_of(model, arguments | changed)
        parts = {axis: self._part_of_axis(axis) for axis in range(1, self.latents.ndim)}
        self.axes = {axis: part for axis, part in parts.items() if part is not None}

    def _part_of_axis(self, axis: int) -> int | None:
        """Index of an axis of the latents among frames, rows and columns."""
        shape = list(self.latents.shape)
        shape[axis] *= 2
        return self._part({"hidden_states": torch.empty(shape, device="meta")})

    def _part(self, changed: Arguments) -> int | None:
        try:
            doubled = self._volume_of(changed)
        except (ValueError, TypeError, RuntimeError):
            return None
        return next((i for i, (a, b) in enumerate(zip(self.volume, doubled, strict=True)) if b >= 2 * a - 1 > 0), None)

    def all(self) -> Arguments:
        """Return all arguments, smaller."""
        return {name: self._smaller(name, value) for name, value in self.arguments.items()}

    def _smaller(self, name: str, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._tensor(name, value)
        if self._are_axes(value):
            cut = zip(value, self.wanted, strict=True)
            return type(value)(x[torch.arange(length, device=x.device) % len(x)] for x, length in cut)
        if isinstance(value, (tuple, list)):
            return type(value)(self._smaller(name, x) for x in value)
        if isinstance(value, int) and not isinstance(value, bool):
            part = self._part({name: 2 * value})
            return value if part is None else value * self.wanted[part] // self.volume[part]
        return value

    def _are_axes(self, value: Any) -> bool:
        """Return True for the positions along the three axes of the video, each in a tensor."""
        if not isinstance(value, (tuple, list)) or not all(isinstance(x, Tensor) and x.ndim == 1 for x in value):
            return False
        return tuple(map(len, value)) == self.volume

    def _tensor(self, name: str, value: Tensor) -> Tensor:
        shape = tuple(self._length(name, value, axis) for axis in range(value.ndim))
        if shape == tuple(value.shape):
            gate = value.ndim == 1 and value.is_floating_point() and "timestep" not in name and "guidance" not in name
            return self._random(value.shape, value).abs() + 0.5 if gate else value
        if not value.is_floating_point() and value.dtype != torch.bool:
            for axis, length in enumerate(shape):
                value = value.index_select(axis, torch.arange(length, device=value.device) % value.shape[axis])
            return value
        if "mask" in name or value.dtype == torch.bool:
            return self._mask(shape, value)
        drawn = self._random(shape, value)
        return drawn.abs().clamp_max(1) * value.max() if "timestep" in name else drawn

    def _length(self, name: str, value: Tensor, axis: int) -> int:
        length, tokens = value.shape[axis], prod(self.volume)
        if value.ndim == self.latents.ndim and axis in self.axes and length == self.latents.shape[axis]:
            part = self.axes[axis]
            return -(-length // self.volume[part]) * self.wanted[part]
        if length == tokens and (axis > 0 or value.shape[0] != self.latents.shape[0]):
            return prod(self.wanted)
        if "timestep" in name and axis > 0 and length == self.volume[0]:
            return self.wanted[0]
        return length

    def _random(self, shape: Any, like: Tensor) -> Tensor:
        return torch.randn(tuple(shape), generator=self.draw).to(like)

    def _mask(self, shape: tuple[int, ...], value: Tensor) -> Tensor:
        usual = value.flatten()[0]
        other = ~usual if value.dtype == torch.bool else (torch.zeros_like(usual) if usual != 0 else usual - 1e4)
        return torch.where((torch.rand(shape, generator=self.draw) < 0.3).to(value.device), other, usual)


def attempt(
    model: nn.Module,
    hoist: Hoist,
    arguments: tuple[Arguments, Arguments],
    tokens: tuple[int, int],
    order: Tensor,
    in_every_layer: Callable[[Callable[[], Any]], Any],
) -> Trial:
    """Try ``order`` [N] on two sizes of arguments; ``in_every_layer`` runs a forward that reorders in each layer."""
    hoist.axes = None
    (plain, shapes), (_, longer) = (_watched(model, hoist, one) for one in arguments)
    axes = axes_of(shapes, longer, tokens)
    if not any(place[0] == 0 for place in axes) or not any(place[0] == "out" for place in axes):
        return Trial(None, "its tokens are not in the arguments of its first block or the output of its last one")
    right = in_every_layer(lambda: _outputs(model, arguments[0]))
    before, hoist.axes, hoist.enter = hoist.enter, axes, lambda hidden: order
    try:
        kept = _outputs(model, arguments[0])
    finally:
        hoist.axes, hoist.enter = None, before
    rounding, found = (_difference(right, other) for other in (plain, kept))
    if not found <= 4 * rounding + 2 * torch.finfo(plain[0].dtype).eps:  # also where something is not finite
        share = f"by {found:.2g} in a trial, where rounding alone changes {rounding:.1g}"
        return Trial(None, f"its output then changes ({share})")
    return Trial(axes)


def _watched(model: nn.Module, hoist: Hoist, arguments: Arguments) -> tuple[list[Tensor], dict[Place, tuple[int, ...]]]:
    """Output of a forward, and the shapes of the arguments of its blocks."""
    shapes: dict[Place, tuple[int, ...]] = {}
    hoist.shapes = shapes
    try:
        return _outputs(model, arguments), shapes
    finally:
        hoist.shapes = None


def _outputs(model: nn.Module, arguments: Arguments) -> list[Tensor]:
    takes = inspect.signature(type(model).forward).parameters
    out = model.forward(**arguments | ({"return_dict": False} if "return_dict" in takes else {}))
    return [x for _, x in leaves(out if isinstance(out, (tuple, list, Tensor)) else dict(out))]


def _difference(one: list[Tensor], other: list[Tensor]) -> float:
    """Norm of the difference over the norm; the max over all outputs."""
    pairs = [(a.double(), b.double()) for a, b in zip(one, other, strict=True)]
    return max(float((a - b).norm() / a.norm().clamp_min(1e-30)) for a, b in pairs)


@contextmanager
def untraced(model: nn.Module) -> Iterator[None]:
    """Run forwards without side effects: gradients, random state, modes, compiled graphs and caches do not change."""
    modes = [module for module in model.modules() if module.training]
    device = next((p.device for p in model.parameters() if p.device.type == "cuda"), None)
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.random.fork_rng(devices=[] if device is None else [device]))
        if hasattr(torch.compiler, "set_stance"):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for hook in cache_hooks(model):
            reference = REFERENCE.read(hook)
            stack.callback(setattr, reference, "forward", reference.forward)
            reference.forward = INNER_FORWARD.read(reference) or reference.forward
        for module in modes:
            stack.callback(setattr, module, "training", True)
            module.training = False
        yield
