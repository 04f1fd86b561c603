"""What plug-ins may never change: the answer without any, the answer after removal, and attention that keeps all."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from genkit.attention.conformance.finding import Finding
from genkit.attention.facts.card import Card
from genkit.attention.facts.volume import Arguments
from genkit.attention.model.forward import Forward
from genkit.attention.model.session import Session, UnroutedError
from genkit.conformance.answers import answer, difference, equal
from genkit.errors import GenkitError, first_line
from genkit.generation.handle import apply
from genkit.plugins.sparse.sliding_tile import SlidingTile
from genkit.recording.recording import Recording

KEEPS_ALL = SlidingTile(tile=(2, 2, 2), window=(99, 99, 99), block=8, min_tokens=1, dense_steps=0, dense_layers=0)
"""A sparse method that reads every key, with tokens in an order of its own."""
NEAR = 1e-4
"""Largest difference of a video with everything kept, as a share of its range: rounding in another order."""


@dataclass
class Seen:
    """Forwards of a run, in order."""

    forwards: list[Forward] = field(default_factory=list)

    def begin(self, forward: Forward) -> None:
        """Add a forward that begins."""
        self.forwards.append(forward)

    def end(self, forward: Forward) -> None:
        """Do nothing: what counts is the forward's state."""


def as_before(pipe: Any, arguments: Arguments, plain: list[Tensor], seen: Seen) -> Iterator[Finding]:
    """Yield whether a run without plug-ins and a run after removal are those without us, bit for bit."""
    try:
        with apply(pipe, check=False) as handle:
            handle.session.watchers.append(seen)
            routed = answer(pipe, arguments)
    except (UnroutedError, GenkitError) as error:
        yield Finding(fact="identity", ok=False, found=first_line(error))
        return
    same = equal(routed, plain)
    yield Finding(fact="identity", ok=same, found=_said(same, "without plug-ins"))
    same = equal(answer(pipe, arguments), plain)
    yield Finding(fact="removal", ok=same, found=_said(same, "after removal"))


def _said(same: bool, when: str) -> str:
    if same:
        return f"the answer {when} is that of the pipeline alone, bit for bit"
    return f"the answer {when} is not that of the pipeline alone; does it depend on anything but its arguments?"


def keeping_all(recording: Recording, card: Card, plain: list[Tensor]) -> Iterator[Finding]:
    """Yield whether attention that keeps everything gives the same video, and whether blocks may see another order."""
    if not card.kinds & {"self", "joint"}:
        return
    try:
        with apply(recording.pipe, KEEPS_ALL, check=False) as handle:
            kept = answer(recording.pipe, recording.arguments)
            yield from _orders(handle.session, recording)
            refused = [reason for _, reason in handle.session.run.refusals]
    except GenkitError as error:
        yield Finding(fact="density", ok=False, found=first_line(error))
        return
    off = difference(plain, kept)
    found = f"a sparse method that keeps everything changes the answer by {off:.1g} of its range"
    yield Finding(fact="density", ok=off <= NEAR, found=found + (f"; refused: {refused[0]}" if refused else ""))


def _orders(session: Session, recording: Recording) -> Iterator[Finding]:
    """Yield the outcome of the trial of an order of tokens through the blocks of each model."""
    for component, trial in {component: trial for (component, _), trial in session.reordering.trials.items()}.items():
        first = recording.first[component]
        if trial.axes is not None:
            yield Finding(fact=f"{component}.blocks", ok=True, found="tokens may be in another order in all of them")
        elif not trial.tried or session.card.models[component].others_in_self(first.model, first.arguments):
            yield Finding(fact=f"{component}.blocks", ok=True, found=f"not tried, as {trial.reason}")
        else:
            found = f"tokens must not be in another order in all of them, as {trial.reason}; leave blocks empty"
            yield Finding(fact=f"{component}.blocks", ok=False, found=found)
