"""What a model sees in a turn: parts of the latents, each frame with a timestep of its own."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from genkit.attention.facts.model_card import ModelCard
from genkit.attention.model.forward import arguments_of
from genkit.attention.model.hooks import Passage
from genkit.attention.model.session import Session
from genkit.plugins.contract import Turns
from genkit.schedulers.turns import Forward


def framed(latents: Tensor, card: ModelCard, frames: int) -> Tensor:
    """Return latents with their frames along an axis of their own, and the inside of a frame along the next one."""
    return latents.unflatten(_axis(card), (frames, -1))


def unframed(latents: Tensor, card: ModelCard) -> Tensor:
    """Return latents as the pipeline has them."""
    return latents.flatten(_axis(card), _axis(card) + 1)


def forward_seam(session: Session, component: str, model: nn.Module, now: Callable[[], Turns | None]) -> None:
    """Let each call of a model become the forwards of a turn, for as long as the session is installed."""

    def through(inner: Any, *args: Any, **kwargs: Any) -> Any:
        turns = now()
        if turns is None or not session.inside:
            return inner(*args, **kwargs)
        arguments, frames = arguments_of(model, args, kwargs), turns.latent_frames
        answers, forwards = [], turns.forwards()
        for forward in forwards:
            given = _part(arguments, session.card, model, forward, frames)
            session.begin(component, model, (), given)
            answer = inner(**given)
            session.end(component, model, (), given, answer)
            seen = framed(answer[0], session.card, forward.end - forward.begin)
            answers.append(seen.narrow(_axis(session.card), forward.keep - forward.begin, forward.end - forward.keep))
        joined = unframed(_joined(answers, frames, _axis(session.card)), session.card)
        return (joined,) if isinstance(answer, tuple) else type(answer)(sample=joined)

    session.passages.append(Passage(model, through))


def _part(
    arguments: dict[str, Any], card: ModelCard, model: nn.Module, forward: Forward, frames: int
) -> dict[str, Any]:
    """The arguments of one forward."""
    hidden = framed(arguments["hidden_states"], card, frames)
    seen = hidden.narrow(_axis(card), forward.begin, forward.end - forward.begin)
    given = arguments | {"hidden_states": unframed(seen, card).contiguous()}
    if "num_frames" in given:
        given["num_frames"] = forward.end - forward.begin
    if forward.timesteps is not None:
        _, rows, cols = card.volume(model, given)
        tokens = forward.timesteps.to(hidden.device).repeat_interleave(rows * cols)
        given["timestep"] = tokens[None].expand(hidden.shape[0], -1)
    return given


def _joined(answers: list[Tensor], frames: int, axis: int) -> Tensor:
    """One answer for all frames: 0 for those at the head that no forward moves."""
    joined = torch.cat(answers, axis)
    missing = list(joined.shape)
    missing[axis] = frames - joined.shape[axis]
    return torch.cat([joined.new_zeros(missing), joined], axis)


def _axis(card: ModelCard) -> int:
    return 1 if card.latent_frame_axis is None else card.latent_frame_axis
