"""Changes of the latents of one frame, row or column, and the tokens that they change if the facts are right."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.volume import Arguments, Volume, patch_of
from genkit.attention.model.frames import LATENTS, latents_of

Part = Literal["frame", "row", "column"]
PARTS: tuple[Part, ...] = ("frame", "row", "column")
"""Parts of the video, in the order of a volume."""


@dataclass(frozen=True)
class Latents:
    """The latents of one forward, as the facts of its model divide them."""

    model: nn.Module
    facts: ModelFacts
    arguments: Arguments

    @property
    def name(self) -> str:
        """Argument with the latents."""
        return next(name for name in LATENTS if name in self.arguments)

    @property
    def tensor(self) -> Tensor:
        """The latents."""
        return latents_of(self.arguments)

    @property
    def volume(self) -> Volume:
        """Frames, rows and columns of tokens."""
        return self.facts.volume(self.model, self.arguments)

    @property
    def others(self) -> int:
        """Other tokens in the sequence of ``self`` layers."""
        return self.facts.others_in_self(self.model, self.arguments)

    def before(self, others: int) -> int:
        """Return how many of ``others`` stand before the video."""
        found = self.facts.before(self.model, self.arguments)
        return others if found is None else min(found, others)

    def axis(self, part: Part) -> int | None:
        """Return the axis of the latents along which the volume counts a part; None if none does."""
        for axis in range(1, self.tensor.ndim):
            shape = list(self.tensor.shape)
            shape[axis] *= 2
            doubled = self._volume_of(torch.empty(shape, device="meta"))
            now, then = (volume[PARTS.index(part)] for volume in (self.volume, doubled))
            if then != now and then >= 2 * now - 1:
                return axis
        return None

    def _volume_of(self, latents: Tensor) -> Volume:
        try:
            return self.facts.volume(self.model, {**self.arguments, **self.replaced(latents)})
        except (ValueError, TypeError, RuntimeError):
            return self.volume

    def replaced(self, latents: Tensor) -> dict[str, Any]:
        """Return the argument with other latents, in a list where the model gets a list of one."""
        return {self.name: latents if isinstance(self.arguments[self.name], Tensor) else [latents]}

    def changed(self, part: Part) -> dict[str, Any] | None:
        """Return latents with other values in the last frame, row or column of the video; None if it has no axis."""
        latents = self.tensor.clone()
        place = self._last(part, latents.ndim)
        if place is None:
            return None
        drawn = torch.randn(latents[place].shape, generator=torch.Generator().manual_seed(0))
        latents[place] = drawn.to(latents)
        return self.replaced(latents)

    def _last(self, part: Part, axes: int) -> Any:
        """Index of the last frame, row or column of the video in the latents."""
        if self.facts.frame_axis is None:
            return slice(None), self.tokens(part).nonzero().flatten() + self.before(self.others)
        frames, along = self.facts.frame_axis, self.axis(part)
        if part != "frame" and (along is None or along == frames):
            return None
        number, patch = PARTS.index(part), patch_of(self.model)
        place: list[Any] = [slice(None)] * axes
        place[frames] = slice(0, self.volume[0] * patch[0])
        axis = frames if part == "frame" or along is None else along
        place[axis] = min(self.volume[number] * patch[number], self.tensor.shape[axis]) - 1
        return tuple(place)

    def tokens(self, part: Part) -> Tensor:
        """Return which tokens of the video are in the last frame, row or column, bool ``[video tokens]``."""
        found = torch.zeros(self.volume, dtype=torch.bool)
        found.select(PARTS.index(part), -1).fill_(True)
        return found.flatten()
