"""The plug-ins of one pipeline, sorted by seam."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from genkit.attention.calls.run import RunRecord
from genkit.attention.facts.call import is_modular
from genkit.attention.facts.card import Card
from genkit.attention.model.session import Session
from genkit.errors import UsageError
from genkit.generation.asked import Counted
from genkit.generation.models.positions import PositionSeam
from genkit.generation.turns.seam import TurnSeam
from genkit.opening.stated import opened_of
from genkit.pipelines.matching import card_of
from genkit.plugins.caches.step_cache import StepCache
from genkit.plugins.contract import DecodePlan, ForwardRule, NoisePlan, Parts, Plugin, Target, TextPlan


@dataclass(frozen=True, kw_only=True)
class Context:
    """A pipeline and what its plug-ins do in it, without the handle that installs and removes them."""

    pipe: Any
    card: Card
    session: Session
    plugins: tuple[Plugin, ...]
    parts: tuple[tuple[str, Parts], ...]
    """Name and parts of each plug-in."""
    noise: NoisePlan | None
    """Changes the initial latents; None leaves them as drawn."""
    text: TextPlan | None
    """Splits the prompt into events; None takes it as one text."""
    forwards: tuple[ForwardRule, ...]
    """Rules around each call of the denoiser."""
    cache: StepCache | None
    """diffusers' step cache; None is none."""
    positions: PositionSeam | None
    """Places frames in time; None keeps the model's own positions."""
    turns: TurnSeam | None
    """Defines one turn of the sampling loop; None is a solver step."""
    decoding: tuple[DecodePlan, ...]
    """Plans that turn latents into frames, innermost first; empty leaves it to the pipeline."""

    @property
    def longest(self) -> int | None:
        """Pixel frames at which the model's positions end; None is nowhere, or set by windows or a position plan."""
        return self.card.longest(self.pipe) if self.session.bounded and self.positions is None else None

    @property
    def window(self) -> int | None:
        """Pixel frames that the model sees at once; None is all."""
        frames = self.session.max_frames
        return None if frames is None else (frames - 1) * self.card.stride(self.pipe) + 1

    @property
    def streams(self) -> bool:
        """True if decoded frames leave the autoencoder's device piece by piece."""
        return bool(self.decoding) and all(plan.streams for plan in self.decoding)

    def begin_run(self, fps: float) -> RunRecord:
        """Start a fresh record for one generation and return it."""
        self.session.run, self.session.fps, self.session.batch = RunRecord(), fps, None
        for note in opened_of(self.pipe).notes:
            self.session.run.note(note)
        return self.session.run


def context_of(pipe: Any, plugins: Sequence[Plugin]) -> Context:
    """Sort what plug-ins do in a pipeline by seam; nothing is installed yet.

    Raises:
        UsageError: the model is of an unknown family, or a plug-in cannot work with it.
    """
    card = card_of(pipe)
    target = target_of(pipe, card)
    parts = tuple((plugin.name, plugin.parts(target)) for plugin in plugins)
    for name, part in parts:
        _check_given(name, part, card)
        _check_method(name, part, pipe)
    each = [part for _, part in parts]
    session = Session(pipe, card, [Counted(rule, name) for name, part in parts for rule in part.rules])
    return Context(
        pipe=pipe,
        card=card,
        session=session,
        plugins=tuple(plugins),
        parts=parts,
        noise=next((part.noise for part in each if part.noise), None),
        text=next((part.text for part in each if part.text), None),
        forwards=tuple(part.forward for part in each if part.forward),
        cache=next((StepCache(session, part.cache) for part in each if part.cache), None),
        positions=next((PositionSeam(pipe, session, part.positions) for part in each if part.positions), None),
        turns=next((TurnSeam(pipe, session, part.turns) for part in each if part.turns), None),
        decoding=tuple(part.decode for part in each if part.decode),
    )


def target_of(pipe: Any, card: Card) -> Target:
    """Return a pipeline in numbers, as plug-ins see it."""
    longest = card.longest(pipe)
    return Target(
        family=card.family,
        title=card.title,
        native_frames=card.native_token_frames(pipe),
        kinds=card.kinds,
        longest=longest and card.token_frames(pipe, longest),
        one_level=card.one_level,
    )


def _check_method(name: str, part: Parts, pipe: Any) -> None:
    """Raise ``UsageError`` if a plug-in would change what a pipeline has in a method and this one in its blocks."""
    if part.turns is not None and is_modular(pipe):
        raise UsageError(
            f"{name} begins each run with other latents and another scheduler than the pipeline, and "
            f"{type(pipe).__name__} has these in its blocks; use the pipeline of this model that is not modular, or "
            f"leave {name} out"
        )


def _check_given(name: str, part: Parts, card: Card) -> None:
    """Raise ``UsageError`` if a plug-in would take a given image or video for noise, or another frame for it."""
    if part.noise is not None and card.given is not None:
        raise UsageError(f"{name} changes the first latents of {card.title}, and {card.given}; leave {name} out")
    if part.turns is not None and (card.given_frames or card.given is not None):
        raise UsageError(
            f"{name} draws the noise of each frame when its turn comes, and the first latents of {card.title} "
            f"contain what was given; leave {name} out"
        )
    if part.forward is not None and card.main.one_piece is not None:
        raise UsageError(
            f"{name} makes a forward of each window of frames, and {card.title} cannot be cut, because "
            f"{card.main.one_piece}; leave {name} out"
        )
