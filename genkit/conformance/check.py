"""``genkit.check``: run a pipeline a few times, as short as it can be, and compare what it does with its facts."""

import time
from collections.abc import Iterator
from typing import Any

from genkit.attention.conformance.finding import Finding, wrong
from genkit.attention.conformance.model import check_model
from genkit.attention.facts.card import Card
from genkit.attention.facts.volume import Arguments
from genkit.conformance.answers import again, answer
from genkit.conformance.branches import branches, prompts
from genkit.conformance.removal import Seen, as_before, keeping_all
from genkit.conformance.report import Conformance
from genkit.conformance.sampling import lengths, noise, sizes, steps
from genkit.errors import GenkitError, first_line
from genkit.pipelines.matching import card_of
from genkit.recording.recording import Recording, record
from genkit.recording.small import record_small

SMALL = frozenset({"num_frames", "height", "width", "num_inference_steps"})
"""Arguments that are chosen as small as they can be."""


def check(pipe: Any, **given: Any) -> Conformance:
    """Run a pipeline a few times, as small as it can be, and return what was found about each of its facts.

    The models run with their own weights; nothing of ours stays in the pipeline.

    Args:
        pipe: a pipeline without plug-ins.
        given: arguments of its call, such as a length, an image, or ``max_sequence_length``; all others are chosen.

    Raises:
        UsageError: nothing is known of such a pipeline, it has plug-ins, or it cannot be run so small.
    """
    begun, card = time.perf_counter(), card_of(pipe)
    recording = record_small(pipe, **_usual(card, given))
    findings = conformance(recording, card)
    return Conformance(
        title=f"{type(pipe).__name__} ({card.family})", findings=findings, seconds=time.perf_counter() - begun
    )


def _usual(card: Card, given: Arguments) -> Arguments:
    """Return the arguments that are given, and the defaults of the model but those of sizes and steps."""
    return {name: value for name, value in card.defaults.items() if name not in SMALL} | given


def conformance(recording: Recording, card: Card) -> tuple[Finding, ...]:
    """Return what a recorded run and further ones with its arguments show, against the facts of its pipeline.

    Once the models are not as their facts say, the pipeline is not run again.
    """
    found = [one for part in _models(recording, card) for one in part]
    if not wrong(found):
        found += _pipeline(recording, card)
    return tuple(found)


def _models(recording: Recording, card: Card) -> Iterator[list[Finding]]:
    for component, facts in card.models.items():
        first = recording.first.get(component)
        if first is not None:
            yield check_model(first, facts)
        elif component == next(iter(card.models)):
            yield [Finding(fact=f"{component}.layers", ok=False, found="this model did not run")]


def _pipeline(recording: Recording, card: Card) -> Iterator[Finding]:
    yield from lengths(card, recording)
    yield from noise(card, recording)
    yield from _texts(recording, card)
    pipe, arguments, seen = recording.pipe, recording.arguments, Seen()
    plain = answer(pipe, arguments)
    yield from as_before(pipe, arguments, plain, seen)
    if seen.forwards:
        yield from sizes(card, recording, seen.forwards)
        yield from steps(card, seen.forwards)
    yield from keeping_all(recording, card, plain)


def _texts(recording: Recording, card: Card) -> Iterator[Finding]:
    """Yield what another prompt shows; its words are the same in another order, so that its length is."""
    prompt = recording.arguments.get("prompt")
    if not isinstance(prompt, str) or len(words := prompt.split()) < 2:
        return
    changed = again(recording.arguments) | {"prompt": " ".join(reversed(words))}
    try:
        other = record(recording.pipe, **changed)
    except GenkitError as error:
        yield Finding(fact="branches", ok=False, found=first_line(error))
        return
    yield from branches(card, recording, other)
    yield from prompts(card, recording, other)
