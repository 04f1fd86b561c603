"""What enters a model, by how it makes its positions."""

from collections.abc import Callable

from torch import nn

from genkit.attention.facts.positions import Making, PositionFacts
from genkit.attention.positions.rotary import RotaryArgument, RotaryModule
from genkit.attention.positions.shift import Shift
from genkit.attention.positions.sinusoid import PatchSinusoid, Sinusoids

Adapter = RotaryModule | Sinusoids | PatchSinusoid
ADAPTERS: dict[Making, Callable[[str, nn.Module, PositionFacts, Shift], Adapter]] = {
    "rotary module": RotaryModule,
    "learned": RotaryModule,
    "rotary argument": RotaryArgument,
    "sinusoid": Sinusoids,
    "patch sinusoid": PatchSinusoid,
}
"""Adapters by ``PositionFacts.making``; there is none for positions that cannot be changed."""
