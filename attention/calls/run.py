"""The record of one generation: what attention really did, and what rules remember meanwhile."""

from collections import Counter
from dataclasses import dataclass, field

from torch import Tensor

from genkit.attention.calls.events import Events
from genkit.attention.calls.memory import Memory


@dataclass
class RunRecord:
    """Made anew for every generation; nothing outlives it and no two pipelines share one."""

    came: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Calls that reached a plug-in, whatever it made of them: (plug-in, seam)."""
    ended: bool = False
    """Whether the pipeline's call came to its end, and what was asked for was there."""
    routed: Counter[str] = field(default_factory=Counter)
    """Attention calls that went through us, by layer."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Attention calls that a step cache left out, by layer; 0 for layers that it could have skipped and did not."""
    calls_per_forward: dict[str, int] = field(default_factory=dict)
    """Attention calls of a layer in one forward of its model."""
    densities: dict[str, list[float | Tensor]] = field(default_factory=dict)
    """Share of the query-key pairs that were computed in each sparse call, by plug-in."""
    backends: Counter[str] = field(default_factory=Counter)
    """Calls by the implementation that did them."""
    refusals: dict[tuple[str, str], Counter[tuple[str, int]]] = field(default_factory=dict)
    """Calls that did not run as asked: (plug-in, reason) to the layers and solver steps and how often."""
    measures: dict[tuple[str, str], list[Tensor]] = field(default_factory=dict)
    """What planners measured, such as their recall: (plug-in, measure) to tensors of any shape."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the receipt: everything adjusted, padded or worth knowing."""
    memory: Memory = field(default_factory=Memory)
    """What rules remember."""
    events: Events | None = None
    """The events of the prompt, put here when its texts are encoded; None where it is one text for all frames."""

    def count_backend(self, backend: str) -> None:
        """Count one call of an implementation."""
        self.backends[backend] += 1

    def sparse(self, plugin: str, density: float | Tensor) -> None:
        """Record the density of one sparse call; a tensor of one number is read only when the run is told."""
        self.densities.setdefault(plugin, []).append(density)

    def measured(self, plugin: str, measure: str, values: Tensor) -> None:
        """Record what a planner measured in one call; read only when the run is told."""
        self.measures.setdefault((plugin, measure), []).append(values)

    def refused(self, plugin: str, reason: str, layer: str, step: int) -> None:
        """Record that ``plugin`` let one call of a layer pass unchanged in a solver step, and why."""
        self.refusals.setdefault((plugin, reason), Counter())[layer, step] += 1

    def note(self, sentence: str) -> None:
        """Add a sentence once."""
        if sentence not in self.notes:
            self.notes.append(sentence)
