"""The decode seam: how latents become frames in one pipeline.

It replaces the autoencoder's own ``_decode``, which every decode goes through once offloading has moved the weights to
their device and slicing has split the batch. Pixels leave the device piece by piece.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from genkit.attention.facts.volume import plain_model
from genkit.attention.model.callers import nearest_pipeline
from genkit.attention.model.session import Session
from genkit.attention.private import DECODE, DECODER_OUTPUT
from genkit.generation.shadow import Shadow
from genkit.plugins.contract import Decode, DecodePlan


def decode_seam(pipe: Any, session: Session, plans: Sequence[DecodePlan]) -> Shadow:
    """Decode with ``plans``, the last one outermost; other pipelines that share the autoencoder are not affected.

    Raises:
        UsageError: a plan cannot decode with this autoencoder.
    """
    vae = plain_model(pipe.vae)
    check_plans(pipe, plans)

    def decoded(original: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        if nearest_pipeline() is None:  # called directly
            return original(*bound.args, **bound.kwargs)
        given = dict(bound.arguments)
        as_object = given.pop("return_dict", True)
        latents, *further = given.values()
        decode = _at_once(original)
        for plan in plans:
            plan.check(vae)  # a callback may have changed its settings
            decode = plan.wrap(decode, vae)
            session.run.came[plan.name, "decode"] += 1
        axis = 2 if latents.ndim == 5 else 0
        pixels = gathered(decode(latents, *further), axis, _expected(pipe, session, latents))
        return _output(pixels) if as_object else (pixels,)

    return Shadow(vae, DECODE.name, decoded, owner=pipe)


def check_plans(pipe: Any, plans: Sequence[DecodePlan]) -> None:
    """Raise ``UsageError`` if a plan cannot decode with the autoencoder of a pipeline as it is set now."""
    for plan in plans:
        plan.check(plain_model(pipe.vae))


def _at_once(original: Callable[..., Any]) -> Decode:
    def decode(latents: Tensor, *further: Any) -> Iterator[Tensor]:
        yield original(latents, *further).sample

    return decode


def _output(pixels: Tensor) -> Any:
    return DECODER_OUTPUT.load()(sample=pixels)


def _expected(pipe: Any, session: Session, latents: Tensor) -> int:
    """Return how many pixel frames latents usually decode to."""
    stride = session.card.stride(pipe) // session.card.time_patch(pipe)
    return 1 + (latents.shape[2] - 1) * stride if latents.ndim == 5 else len(latents)


def gathered(pieces: Iterator[Tensor], axis: int, expected: int) -> Tensor:
    """Return all pieces on the CPU, concatenated along ``axis``, in their own precision.

    Args:
        pieces: at least one; each is freed before the next is made.
        axis: of time.
        expected: frames to allocate at once; further frames cost a copy.
    """
    whole, done = torch.empty(0), 0
    for piece in pieces:
        count = piece.shape[axis]
        if done + count > (whole.shape[axis] if done else 0):
            whole = _with_room(piece, whole.narrow(axis, 0, done) if done else None, axis, max(expected, done + count))
        whole.narrow(axis, done, count).copy_(piece)
        done += count
    return whole.narrow(axis, 0, done)


def _with_room(piece: Tensor, before: Tensor | None, axis: int, frames: int) -> Tensor:
    shape = list(piece.shape)
    shape[axis] = frames
    whole = torch.empty(shape, dtype=piece.dtype)
    if before is not None:
        whole.narrow(axis, 0, before.shape[axis]).copy_(before)
    return whole
