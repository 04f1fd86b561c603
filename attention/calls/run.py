"""The record of one generation: what attention really did, and the state of its rules."""

from collections import Counter
from dataclasses import dataclass, field

from torch import Tensor

from genkit.attention.calls.events import Events
from genkit.attention.calls.memory import Memory


@dataclass
class RunRecord:
    """Record of one generation of one pipeline; each generation gets a new one, so nothing outlives it."""

    came: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Calls that reached a plug-in, whether or not it acted on them: (plug-in, seam)."""
    ended: bool = False
    """True if the pipeline's call finished and the plug-ins acted as requested."""
    parts: int = 0
    """Times that the pipeline drew latents: once for each part of a video that it makes one after the other."""
    routed: Counter[str] = field(default_factory=Counter)
    """Attention calls that were routed through the rules, by layer."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Attention calls that a step cache skipped, by layer; 0 for layers that it could have skipped but did not."""
    calls_per_forward: dict[str, int] = field(default_factory=dict)
    """Attention calls of a layer in one forward of its model."""
    densities: dict[str, list[float | Tensor]] = field(default_factory=dict)
    """Density of each sparse call, by plug-in."""
    backends: Counter[str] = field(default_factory=Counter)
    """Calls by implementation."""
    refusals: dict[tuple[str, str], Counter[tuple[str, int]]] = field(default_factory=dict)
    """Calls that did not run as requested: (plug-in, reason) to counts by layer and solver step."""
    measures: dict[tuple[str, str], list[Tensor]] = field(default_factory=dict)
    """Measurements of planners, such as recall: (plug-in, measure) to tensors of any shape."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the receipt: everything adjusted, padded or worth knowing."""
    memory: Memory = field(default_factory=Memory)
    """State of the rules."""
    events: Events | None = None
    """Events of the prompt, set when its texts are encoded; None if one text applies to all frames."""

    def count_backend(self, backend: str) -> None:
        """Count one call that an implementation computed."""
        self.backends[backend] += 1

    def sparse(self, plugin: str, density: float | Tensor) -> None:
        """Record the density of one sparse call; scalar tensors are synchronised only when the receipt is built."""
        self.densities.setdefault(plugin, []).append(density)

    def measured(self, plugin: str, measure: str, values: Tensor) -> None:
        """Record a planner's measurement of one call; synchronised only when the receipt is built."""
        self.measures.setdefault((plugin, measure), []).append(values)

    def refused(self, plugin: str, reason: str, layer: str, step: int) -> None:
        """Record that ``plugin`` passed one call of a layer through unchanged in a solver step, with the reason."""
        self.refusals.setdefault((plugin, reason), Counter())[layer, step] += 1

    def note(self, sentence: str) -> None:
        """Add a sentence to the receipt, unless it is already there."""
        if sentence not in self.notes:
            self.notes.append(sentence)
