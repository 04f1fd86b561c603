"""Experiments on a recorded forward: which rows of queries and keys move when one argument changes.

Attention answers with zeros in them, so that no token learns of another one there, and rows of every layer can be read.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from genkit.attention.facts.volume import Arguments
from genkit.attention.model.frames import LATENTS
from genkit.attention.replays.calls import SeenCall, moved
from genkit.attention.replays.replay import FirstForward, Replayed, replay

LEFT_ALONE = ("timestep", "sigma", "guidance", "fps", "rotary", "coords", "position", "indices", "scale", "mask")
"""Parts of names of arguments that are not changed: they say where tokens are and how noisy, not what they contain."""


@dataclass(frozen=True, kw_only=True)
class Experiments:
    """One forward as it was recorded, and again with other values; what failed or made other calls is left out."""

    forward: FirstForward
    latents: str
    """Name of the argument with the latents."""
    plain: Replayed
    """Unchanged."""
    deterministic: bool
    """True if a second forward with the same arguments gave the same output, bit for bit."""
    noise: Replayed
    """With other latents."""
    along: dict[int, Replayed] = field(default_factory=dict)
    """With other latents at the last index of each axis but the first."""
    others: dict[str, Replayed] = field(default_factory=dict)
    """With another value of each other argument that contains numbers."""

    def moved_q(self, number: int, changed: Replayed) -> Tensor:
        """Return which queries of call ``number`` of the forward a change moves, bool ``[N]``, in any sequence."""
        return moved(self.plain.calls[number].q, changed.calls[number].q).any(0)

    def moved_k(self, number: int, changed: Replayed) -> Tensor:
        """Return which keys of call ``number`` of the forward a change moves, bool ``[N]``, in any sequence."""
        return moved(self.plain.calls[number].k, changed.calls[number].k).any(0)

    def causes(self, number: int, rows: Callable[[int, Replayed], Tensor]) -> list[str]:
        """Return the names of the other arguments that move rows of call ``number``."""
        return [name for name, changed in self.others.items() if bool(rows(number, changed).any())]

    @property
    def calls(self) -> tuple[SeenCall, ...]:
        """Attention calls of the unchanged forward."""
        return self.plain.calls

    @property
    def given(self) -> Tensor:
        """The latents of the forward."""
        found: Tensor = self.forward.arguments[self.latents]
        return found


def experiment(forward: FirstForward) -> Experiments | None:
    """Return what a forward does with other values; None if its latents were not found or change its calls.

    Raises:
        Exception: whatever the model raises where nothing is changed.
    """
    name = latents_name(forward.arguments)
    if name is None:
        return None
    given: Tensor = forward.arguments[name]
    once, again = replay(forward), replay(forward)
    same = all(torch.equal(one, two) for one, two in zip(once.output, again.output, strict=True))
    plain = replay(forward, apart=True)
    noise = replay(forward, {name: other(given)}, apart=True)
    if not plain.same_calls(noise):
        return None
    changes = {axis: {name: other_at_end(given, axis)} for axis in range(1, given.ndim)}
    along = {axis: found for axis, change in changes.items() if (found := _tried(forward, change, plain)) is not None}
    values = {
        key: changed(value) for key, value in forward.arguments.items() if key != name and has_content(key, value)
    }
    others = {
        key: found for key, value in values.items() if (found := _tried(forward, {key: value}, plain)) is not None
    }
    return Experiments(
        forward=forward,
        latents=name,
        plain=plain,
        deterministic=same,
        noise=noise,
        along=along,
        others=others,
    )


def latents_name(arguments: Arguments) -> str | None:
    """Return the name of the argument with the latents: a usual one, or the first of three or more axes."""
    tensors = {name: value for name, value in arguments.items() if isinstance(value, Tensor)}
    usual = next((name for name in LATENTS if name in tensors), None)
    return usual or next((name for name, value in tensors.items() if value.ndim > 2 and _is_real(value)), None)


def other(value: Tensor) -> Tensor:
    """Return a tensor of the same shape with other numbers, the same every time."""
    draw = torch.Generator("cpu").manual_seed(value.numel())
    size = float(value.detach().float().std()) if value.numel() > 1 else 0.0
    noise = torch.randn(value.shape, generator=draw) * (size or 1.0)
    return value + noise.to(value)


def other_at_end(value: Tensor, axis: int) -> Tensor:
    """Return a copy of a tensor with other numbers at the last index of one axis."""
    found = value.clone()
    found.select(axis, -1).copy_(other(value).select(axis, -1))
    return found


def changed(value: Any) -> Any:
    """Return an argument with other numbers in all of its tensors; anything else stays."""
    if isinstance(value, Tensor):
        return other(value) if _is_real(value) else value
    if isinstance(value, dict):
        return {name: changed(one) for name, one in value.items()}
    if type(value) in (tuple, list):
        return type(value)(changed(one) for one in value)
    return value


def _tried(forward: FirstForward, change: Arguments, plain: Replayed) -> Replayed | None:
    """Return a forward with a change; None if it fails or makes other calls, so that rows cannot be compared."""
    try:
        found = replay(forward, change, apart=True)
    except Exception:
        return None
    return found if plain.same_calls(found) else None


def has_content(name: str, value: Any) -> bool:
    """Return True if an argument has numbers that say what is in the video, not where or how noisy it is."""
    return not any(part in name for part in LEFT_ALONE) and any(map(_is_real, _tensors(value)))


def _is_real(value: Tensor) -> bool:
    return value.is_floating_point() and value.ndim > 0


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | tuple | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _tensors(one)
