"""Adapters for tables of cosines and sines, computed by a module of the model or passed to it by the pipeline.

They are plain torch hooks, which remain when a model is moved, offloaded or compiled, and act only in forwards of the
plan's own pipeline. A table is never modified in place: the model gets another one.
"""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from genkit.attention.facts.positions import PositionFacts, Rotation
from genkit.attention.facts.volume import Arguments, Volume
from genkit.attention.model.forward import arguments_of
from genkit.attention.model.hooks import Hook
from genkit.attention.positions.shift import Angles, NotAsDescribedError, Shift, check_turns

Table = tuple[Tensor, Tensor]
"""Cosines and sines, of one shape."""


class RotaryModule:
    """Adapter for a module that computes the table, of fixed or learned frequencies (Wan, HunyuanVideo, LTX, Mochi)."""

    def __init__(self, component: str, model: nn.Module, facts: PositionFacts, shift: Shift) -> None:
        self.component, self.model, self.facts, self.shift = component, model, facts, shift
        self._handles: list[RemovableHandle] = []

    def install(self) -> None:
        """Register the hook.

        Raises:
            LookupError: the model does not have the module.
        """
        try:
            part = self.model.get_submodule(self.facts.where)
        except AttributeError:
            raise LookupError(
                f"{self.component} has no module {self.facts.where!r} that computes its positions, so a plug-in cannot "
                "change them; is this model of another version?"
            ) from None
        self._handles.append(part.register_forward_hook(Hook(self._made), with_kwargs=True))

    def remove(self) -> None:
        """Remove the hook."""
        while self._handles:
            self._handles.pop().remove()

    def _made(self, part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
        volume = self.shift.volume
        if volume is None:
            return None
        return shifted(self, out, volume, partial(arguments_of, part, args, kwargs))


class RotaryArgument(RotaryModule):
    """Adapter for a table that the pipeline computes and passes to every forward of the model (CogVideoX)."""

    def install(self) -> None:
        """Register the hook."""
        self._handles.append(self.model.register_forward_pre_hook(Hook(self._taken), with_kwargs=True))

    def _taken(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Replace the table in the arguments of the forward.

        Raises:
            ValueError: the pipeline passes none.
        """
        volume = self.shift.volume
        if volume is None:
            return None
        arguments, name = arguments_of(model, args, kwargs), self.facts.where
        if arguments.get(name) is None:
            raise ValueError(
                f"{self.component} was called without {name}, so it has no positions to change; leave out the plug-in"
            )
        changed = shifted(self, arguments[name], volume, lambda: arguments)
        if name in kwargs:
            return args, {**kwargs, name: changed}
        place = list(arguments).index(name)
        return (*args[:place], changed, *args[place + 1 :]), kwargs


def shifted(adapter: RotaryModule, table: Table, volume: Volume, arguments: Callable[[], Arguments]) -> Table:
    """Return the table with the plan's positions.

    Raises:
        ValueError: the table does not match the facts of the family.
    """
    facts, what = adapter.facts, f"{adapter.component}.{adapter.facts.where}"

    def rotation() -> Rotation:
        assert facts.rotation is not None
        return facts.rotation(adapter.model, arguments())

    def check(read: Rotation) -> None:
        check_turns(read, cosines[:, 0], sines[:, 0], what)

    cosines, sines = (by_frame(x, facts.token_axis, volume, what) for x in table)
    angles = adapter.shift.angles(what, volume[0], rotation, check)
    if not angles.changed.any():
        return table
    pair = turned(cosines, sines, angles) if angles.channels is None else rewritten(cosines, sines, angles)
    cosines, sines = (x.flatten(0, 1).movedim(0, facts.token_axis).contiguous() for x in pair)
    return cosines, sines


def by_frame(table: Tensor, token_axis: int, volume: Volume, what: str) -> Tensor:
    """Return a table as ``[frames, tokens of a frame, ..., C]``.

    Raises:
        NotAsDescribedError: its tokens are not those of the video, for example because devices share them.
    """
    tokens = table.movedim(token_axis, 0)
    if len(tokens) != prod(volume):
        raise NotAsDescribedError(
            f"{what} has the positions of {len(tokens)} tokens and the video has {prod(volume)} (do devices share them "
            "in context parallelism?), so a plug-in cannot change them; leave out the plug-in or context parallelism"
        )
    return tokens.unflatten(0, (volume[0], -1))


def rewritten(cosines: Tensor, sines: Tensor, angles: Angles) -> Table:
    """Return tables ``[frames, tokens, ..., C]`` with new values in the channels that encode only time."""
    assert angles.channels is not None
    repeats = angles.channels.shape[1]
    places = angles.channels.flatten().to(cosines.device)
    shape = (len(cosines), *[1] * (cosines.ndim - 2), -1)
    changed = angles.changed.repeat_interleave(repeats, -1).view(shape).to(cosines.device)
    results = []
    for table, values in ((cosines, angles.after.cos()), (sines, angles.after.sin())):
        new = values.repeat_interleave(repeats, -1).view(shape).to(table.dtype).to(table.device)
        out = table.clone()
        out[..., places] = torch.where(changed, new, table[..., places])
        results.append(out)
    return results[0], results[1]


def turned(cosines: Tensor, sines: Tensor, angles: Angles) -> Table:
    """Return tables ``[frames, tokens, heads, P]`` rotated by the difference; they also encode rows and columns."""
    more = (angles.after - angles.before)[:, None]
    changed = (more != 0).to(cosines.device)
    c, s = (x.to(cosines.dtype).to(cosines.device) for x in (more.cos(), more.sin()))
    return (
        torch.where(changed, cosines * c - sines * s, cosines),
        torch.where(changed, sines * c + cosines * s, sines),
    )
