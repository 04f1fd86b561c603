"""Guidance branches of the first step of a run, where nobody has compared them with the facts of the pipeline."""

from genkit.attention.conformance.finding import Finding, refusal
from genkit.attention.conformance.ways import wrong_way
from genkit.attention.model.forward import Forward
from genkit.attention.model.session import Session
from genkit.errors import UsageError


class FirstStep:
    """Watcher of the forwards of one model, until its second step begins."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._step: tuple[int, int, str, int] | None = None
        self._names: list[str | None] = []
        self._done = False

    def begin(self, forward: Forward) -> None:
        """Compare the forwards of the first step with the facts when another one begins.

        Raises:
            UsageError: they come in another way than the facts say.
        """
        if self._done or self.session.wrapped:
            return
        step = (id(forward.run), forward.run.parts, forward.component, forward.step.index)
        if self._step is not None and step != self._step:
            self._done = True
            self._compare(forward)
            return
        self._step = step
        self._names.append(self.session.branch_name)

    def _compare(self, forward: Forward) -> None:
        videos, card = self.session.batch or forward.batch, self.session.card
        found = wrong_way(card.branches, self._names, len(self._names), forward.batch // videos)
        if found is not None:
            said = f"{found}, and the facts say {card.branches!r}"
            raise UsageError(refusal(card.title, Finding(fact="branches", ok=False, found=said)))

    def end(self, forward: Forward) -> None:
        """Do nothing: the first step ends when the second one begins."""
