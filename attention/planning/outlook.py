"""Warnings before the first step: sparse methods that will be dense in every call, plug-ins without effect."""

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
"""Text tokens assumed in joint attention: many, so that a method is not called idle by mistake."""


@dataclass(frozen=True, kw_only=True)
class Asked(StandIn):
    """Planner that is only asked for its refusals and computes nothing."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Return an output without values (on the meta device)."""
        return torch.empty_like(q), torch.ones(())


class Outlook:
    """Watcher that reports idle methods in the first forward of a run, before its first layer."""

    def __init__(self, session: Session, tell: Callable[[tuple[str, ...]], None]) -> None:
        self.session, self.tell, self._told = session, tell, False

    def begin(self, forward: Forward) -> None:
        """Report idle methods, once per run."""
        if self._told:
            return
        self._told = True
        notes = tuple(idle(self.session, forward.component, forward.step))
        for note in notes:
            self.session.run.note(note)
        self.tell(notes)

    def end(self, forward: Forward) -> None:
        """Do nothing."""


def idle(session: Session, component: str, step: Step) -> Iterator[str]:
    """Yield a sentence for each sparse method that would be dense in every call of this run, and the rules' own notes.

    Every layer is tried in the last step, and the last layer in every step, with meta tensors that pass through all
    rules, windows included.
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
    """Pass one call of a layer through all rules without computing anything."""
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
