"""What is known before the first step: sparse methods that will be dense in every call, plug-ins without effect."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from genkit.attention.calls.call import Call, Kind, Step, compose
from genkit.attention.calls.run import RunRecord
from genkit.attention.model.forward import Forward
from genkit.attention.model.layers import Layer
from genkit.attention.model.session import Session
from genkit.attention.planning.planner_call import Attended, PlannerCall
from genkit.attention.planning.rule import ALL_WARM_UP, SparseRule
from genkit.attention.planning.stand_in import StandIn

MOST_TEXT = 512
"""Text tokens that are assumed beside the video's in joint attention, so that no method is called idle that is not."""


@dataclass(frozen=True, kw_only=True)
class Asked(StandIn):
    """A planner that is asked what it refuses, and computes nothing."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Return an output without numbers."""
        return torch.empty_like(q), torch.ones(())


class Outlook:
    """Watches for the first forward of a run, and tells of idle methods before its first layer."""

    def __init__(self, session: Session, tell: Callable[[tuple[str, ...]], None]) -> None:
        self.session, self.tell, self._told = session, tell, False

    def begin(self, forward: Forward) -> None:
        """Before the first layer of a model's forward."""
        if self._told:
            return
        self._told = True
        notes = tuple(idle(self.session, forward.component, forward.step))
        for note in notes:
            self.session.run.note(note)
        self.tell(notes)

    def end(self, forward: Forward) -> None:
        """After its last."""


def idle(session: Session, component: str, step: Step) -> Iterator[str]:
    """Tell, in a sentence each, of the sparse methods that would not compute a single call of this run, and of what
    the rules note of themselves.

    Every layer is asked in the last step, and the last layer in every step, with tensors without numbers that pass
    through all rules, so that windows count.
    """
    run, names = RunRecord(), []
    for rule in session.rules:
        bare = rule.bare
        if isinstance(bare, SparseRule):
            names.append(bare.name)
    for layer, index in _asked_of(session, component, step):
        _ask(session, layer, replace(step, index=index, sigma=session.sigma(index), frame_progress=None), run)
    for name in names:
        reasons = Counter({reason: sum(where.values()) for (who, reason), where in run.refusals.items() if who == name})
        if run.densities.get(name):
            continue
        if reasons:
            yield f"{name}: every call is dense, because {reasons.most_common(1)[0][0]}"
        else:
            yield f"{name}: {ALL_WARM_UP}"
    yield from run.notes


def _asked_of(session: Session, component: str, step: Step) -> Iterator[tuple[Layer, int]]:
    kinds = {kind for rule in session.rules for kind in rule.kinds if kind in ("self", "joint")}
    layers = [layer for layer in session.layers if layer.component == component and layer.kind in kinds]
    yield from ((layer, step.total - 1) for layer in layers)
    yield from ((layer, index) for layer in layers[-1:] for index in range(step.total - 1))


def _ask(session: Session, layer: Layer, step: Step, run: RunRecord) -> None:
    """One call of a layer, through all rules, with nothing computed."""
    kind: Kind = layer.kind
    grid = session.grid_of(kind, MOST_TEXT if kind == "joint" else 0)
    q = torch.empty(len(step.branches), 1, grid.tokens, 8, device="meta")
    call = Call(layer=layer.name, depth=layer.depth, kind=kind, model=layer.component, grid=grid, step=step, run=run)
    compose(lambda q, k, v, call: torch.empty_like(q), [_asking(rule, layer) for rule in session.rules], kind)(
        q, q, q, call
    )


def _asking(rule: Any, layer: Layer) -> Any:
    bare = rule.bare
    if not isinstance(bare, SparseRule):
        return bare
    planner = bare.planner_in(f"{layer.component}.{layer.name}")
    return replace(bare, planner=Asked(planner=planner), recall=None, budget=None)
