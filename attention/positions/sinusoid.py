"""Adapters for sinusoids that are added to hidden states, before temporal attention or before the first block.

The table may be finite (AnimateDiff's has 32 frames): a plan can extend the video beyond it only with positions inside
the table.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from genkit.attention.facts.positions import PositionFacts, Rotation
from genkit.attention.model.hooks import Hook, Passage
from genkit.attention.model.positions import embedding_of, first_positions
from genkit.attention.positions.shift import Angles, Shift, check_near


class Sinusoids:
    """Adapter for the tables before temporal attention (AnimateDiff); they restart in windows as without a plan."""

    def __init__(self, component: str, model: nn.Module, facts: PositionFacts, shift: Shift) -> None:
        self.component, self.model, self.facts, self.shift = component, model, facts, shift
        self.tables: list[nn.Module] = []

    def install(self) -> None:
        """Route the forwards of all tables through the plan; the session renews and removes the route.

        Raises:
            LookupError: no temporal layer has a table.
        """
        session = self.shift.session
        layers = [layer for layer in session.layers if layer.component == self.component and layer.kind == "temporal"]
        found = dict.fromkeys(embedding_of(self.model, layer.name) for layer in layers)
        self.tables = [one for one in found if one is not None]
        if not self.tables:
            raise LookupError(
                f"no temporal attention in {self.component} has positions, so a plug-in cannot change them; leave it "
                "out"
            )
        for table in self.tables:
            session.passages.append(Passage(table, partial(self._added, table)))
        session.table_of = self.table

    def remove(self) -> None:
        """Restore the tables of windows."""
        self.shift.session.table_of = first_positions

    def _added(self, table: nn.Module, forward: Any, hidden: Tensor) -> Any:
        window = self.shift.session.window
        if self.shift.volume is None or (window is not None and hidden.shape[1] > window):
            return forward(hidden)
        return hidden + self.table(table, hidden.shape[1]).to(hidden.device)

    def rotation(self, table: nn.Module) -> Rotation:
        """Return the angles of one table."""
        assert self.facts.rotation is not None
        return self.facts.rotation(table, {})

    def table(self, table: Any, frames: int) -> Tensor:
        """Return the first ``frames`` positions of one table after the plan, ``[1, frames, C]``.

        Raises:
            ValueError: one is beyond the end of the table, or the table is not a sinusoid.
        """
        pe: Tensor = table.pe[0]

        def check(read: Rotation) -> None:
            exact = sinusoid(torch.arange(len(pe), dtype=torch.float64)[:, None] * read.inverse_frequencies)
            what = f"the table of positions {self.facts.where} in {self.component}"
            check_near((pe.double().cpu() - exact).abs(), pe.dtype, float(len(pe)), what)

        angles = self.shift.angles((self.component, pe.shape[-1]), frames, partial(self.rotation, table), check)
        check_end(frames, angles.last, len(pe))
        new, own = sinusoid(angles.after).to(pe), pe[:frames]
        same = ~angles.changed[: len(own)].repeat_interleave(2, -1).to(pe.device)
        new[: len(own)] = torch.where(same, own, new[: len(own)])
        return new[None]


class PatchSinusoid:
    """Adapter for the table that is added to the tokens before the first block (CogVideoX-2b)."""

    def __init__(self, component: str, model: nn.Module, facts: PositionFacts, shift: Shift) -> None:
        self.component, self.model, self.facts, self.shift = component, model, facts, shift
        self._handles: list[RemovableHandle] = []

    def install(self) -> None:
        """Register the hook."""
        part = self.model.get_submodule(self.facts.where)
        self._handles.append(part.register_forward_hook(Hook(self._added)))

    def remove(self) -> None:
        """Remove the hook."""
        while self._handles:
            self._handles.pop().remove()

    def _added(self, part: Any, args: tuple[Tensor, ...], out: Tensor) -> Tensor | None:
        if self.shift.volume is None:
            return None
        frames, _, _ = self.shift.volume

        def rotation() -> Rotation:
            assert self.facts.rotation is not None
            return self.facts.rotation(part, {})

        angles = self.shift.angles(self.facts.where, frames, rotation, partial(self._check, part))
        if not angles.changed.any():
            return None
        more = in_channels(angles.after, angles) - in_channels(angles.before, angles)
        text, width = args[0].shape[1], more.shape[-1]
        result = out.clone()
        tokens = result[:, text:].unflatten(1, (frames, -1))[..., :width]
        tokens += more[:, None].to(out.dtype).to(out.device)
        return result

    def _check(self, part: Any, read: Rotation) -> None:
        """Compare with the model's own table for its default size."""
        own = getattr(part, "pos_embedding", None)
        what = f"{self.component}.{self.facts.where}.pos_embedding"
        if own is None or read.channels is None:
            raise ValueError(f"{what} is missing, so there are no positions to change; leave out the plug-in")
        frames = (part.sample_frames - 1) // part.temporal_compression_ratio + 1
        table = own[0, part.max_text_seq_length :].unflatten(0, (frames, -1))[:, 0]
        places = torch.arange(frames, dtype=torch.float64)[:, None] * read.inverse_frequencies
        angles = Angles(places, places, read.channels, float(frames - 1))
        exact = in_channels(places, angles)
        check_near((table[:, : exact.shape[-1]].double().cpu() - exact).abs(), own.dtype, float(frames), what)


def sinusoid(angles: Tensor) -> Tensor:
    """Return sine and cosine of angles ``[frames, P]``, interleaved, float64 ``[frames, 2 P]``."""
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)


def in_channels(values: Tensor, angles: Angles) -> Tensor:
    """Return sine and cosine of ``values`` [frames, P] in the table's channels, float64 ``[frames, 2 P]``."""
    assert angles.channels is not None
    out = values.new_empty(len(values), angles.channels.numel())
    out[:, angles.channels[:, 0]], out[:, angles.channels[:, 1]] = values.sin(), values.cos()
    return out


def check_end(frames: int, last: float, longest: int) -> None:
    """Raise ``ValueError`` if the last frame is beyond the ``longest`` positions of a table."""
    if last > longest - 1:
        raise ValueError(
            f"the last of {frames} frames would be at position {last:.4g}, and the positions of this model end at "
            f"{longest - 1}; make a shorter video, or use position-interpolation with a larger factor or none"
        )
