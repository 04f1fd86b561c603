"""The facts of a pipeline's models, compared with their first forward where the tests of this package have not."""

import time
from typing import Any

from torch import nn

from genkit.attention.conformance.finding import refusal, wrong
from genkit.attention.conformance.model import check_model
from genkit.attention.facts.known import is_tested
from genkit.attention.model.session import Session
from genkit.attention.replays.replay import FirstForward
from genkit.errors import UsageError
from genkit.generation.models.branches import FirstStep
from genkit.pipelines.matching import is_tested_pipeline


def check_first_forwards(session: Session, check: bool) -> None:
    """Compare the facts of models and pipeline with their first forwards, if classes or facts are others than we test.

    If not ``check``, the receipt says that they were used as they are.
    """
    untested = frozenset(name for name, model in session.models.items() if not is_tested(model))
    in_tested_pipeline = is_tested_pipeline(session.pipe)
    if not check:
        session.unchecked = untested if in_tested_pipeline else frozenset(session.models)
        return
    if untested:
        session.on_first = _FirstCheck(session, untested)
    if untested or not in_tested_pipeline:
        session.watchers.append(FirstStep(session))


class _FirstCheck:
    def __init__(self, session: Session, components: frozenset[str]) -> None:
        self.session, self.components = session, components

    def __call__(self, component: str, model: nn.Module, arguments: dict[str, Any]) -> None:
        """Run the first layers of a model a few times.

        Raises:
            UsageError: its facts say something else than was found.
        """
        session, begun = self.session, time.perf_counter()
        if component not in self.components:
            return
        first = FirstForward(component=component, model=model, arguments=arguments)
        found = check_model(first, session.card.models[component], brief=True)
        against = wrong(found)
        for finding in against[:1]:
            raise UsageError(refusal(session.card.title, finding, len(against) - 1))
        session.run.note(
            f"the facts of {component} were compared with its first forward, and {len(found)} of them are right "
            f"({time.perf_counter() - begun:.2f} s)"
        )
