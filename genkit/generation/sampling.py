"""One run of a pipeline: check the arguments, watch the steps, build the video and its receipt."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genkit.attention.facts.card import Card
from genkit.attention.model.hooks import EAGER
from genkit.attention.model.session import UnroutedError
from genkit.attention.planning.outlook import Outlook
from genkit.checks.arguments import (
    arguments_of,
    call_arguments,
    check_decodes,
    check_size,
    default_of,
    draw_seed,
)
from genkit.checks.fitting import check_memory, out_of_memory
from genkit.checks.guidance import guided, split_guidance
from genkit.checks.latents import check_given
from genkit.checks.lengths import as_call, check_frames, check_step, default_length, made_of, own_length, with_length
from genkit.checks.options import check_options, to_json
from genkit.checks.values import check_rate, function, quote
from genkit.errors import GenkitError, UsageError, first_line, is_out_of_memory
from genkit.generation.callbacks import chained, steps_watched
from genkit.generation.context import Context
from genkit.generation.decode_seam import check_plans
from genkit.generation.events import OnEvent
from genkit.generation.preview import preview
from genkit.generation.receipts.answer import displayable, has_sound, videos_of
from genkit.generation.receipts.notes import note_length, note_what_differs, note_what_is_known
from genkit.generation.receipts.where import where
from genkit.generation.sentinels import check_decoded
from genkit.generation.start.prompts import as_argument, check_texts, prompt_in_json, read_events
from genkit.generation.watch import Watch
from genkit.inputs.arguments import as_arguments, steps_left
from genkit.inputs.given import Given, read_given, split
from genkit.inputs.length import Clips, clips_of, cut_to, length_of, steps_of
from genkit.opening.stated import request_of
from genkit.plugins.catalogue import text_of
from genkit.record.receipt import Attention, Receipt, Seconds, versions
from genkit.request import Request
from genkit.schedulers.seeds import generator_of
from genkit.video.video import Video

LARGEST_SEED = 2**62
"""Bound of the seeds that pipelines take as a number; some add the number of a frame."""


def sample(
    context: Context,
    prompt: Any,
    asked: dict[str, Any],
    *,
    seed: Any,
    fps: Any,
    on_event: OnEvent | None,
) -> Video:
    """Run the pipeline once; see ``Handle.generate``."""
    pipe, number, notes = context.pipe, draw_seed(seed), list[str]()
    words, asked = split(context.card, asked)
    asked = own_length(context.card, check_options(asked))
    if on_event is not None:
        function("on_event", on_event)
    events = read_events(context, prompt, asked)
    given = read_given(pipe, context.card, words, asked, notes.append)
    fps = _rate(context.card, given, fps)
    clips, length, rest = _lengths(context, given, asked, fps, notes)
    rest, scale = split_guidance(pipe, rest)
    arguments = _arguments(
        context, rest | as_argument(context, prompt, asked, events) | _own(pipe, fps, number), length
    )
    named = {name: to_json(name, value) for name, value in (arguments | asked).items()}
    arguments |= as_arguments(pipe, context.card, given, clips, arguments, notes)
    steps = arguments.get("num_inference_steps") or default_of(pipe, "num_inference_steps")
    left = steps_left(pipe, arguments, steps)
    run = context.begin_run(fps)
    run.events = events
    for note in notes:
        run.note(note)
    check_texts(context, arguments, fps, length)
    made = made_of(pipe, context.card, arguments)
    note_what_is_known(context, prompt, arguments, scale)
    note_length(context, arguments, asked.get("num_frames"), made)
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    watch = Watch(total=steps, on_event=on_event, preview=_preview(context, fps))
    watch.report_notes(tuple(run.notes))
    with watch.watching(pipe), _looking_ahead(context, watch), steps_watched(pipe, watch), guided(pipe, scale):
        answer = _run(context, watch, arguments, generator_of(number))
    seconds = _seconds(watch, time.perf_counter())
    videos = videos_of(pipe, answer)
    check_decoded(pipe.vae, videos[0], watch.infinite)
    frames, cut_off = displayable(videos[0])
    if cut_off is not None:
        run.note(cut_off)
    note_what_differs(pipe, run, watch, made or asked.get("num_frames"), videos, left)
    if has_sound(answer):
        run.note("the pipeline also made a sound, which is not in the video; pipe(...) itself returns it")
    receipt = Receipt(
        **where(pipe, context.card, context.session),
        seed=number,
        frames_asked=asked.get("num_frames"),
        frames=len(frames),
        height=frames.shape[1],
        width=frames.shape[2],
        fps=fps,
        arguments={name: value for name, value in named.items() if name not in ("prompt", "num_frames", "seed")}
        | given.records(),
        plugins=tuple(text_of(plugin) for plugin in context.plugins),
        attention=Attention.from_run(run),
        notes=tuple(run.notes),
        seconds=seconds,
        started=started,
        versions=versions(),
    )
    request = Request.of_call(
        {name: named[name] for name in asked} | given.records() | {"seed": number, "fps": fps},
        prompt=prompt_in_json(prompt),
        model=receipt.model,
        plugins=receipt.plugins,
        **request_of(pipe),
    )
    return Video(frames, fps=fps, request=request.model_dump(mode="json", exclude_none=True), receipt=receipt)


def _lengths(
    context: Context, given: Given, asked: dict[str, Any], fps: float, notes: list[str]
) -> tuple[Clips, int | None, dict[str, Any]]:
    """Return the frames of each input as long as they are needed, the length that a video sets, and the arguments of
    the call with it."""
    pipe, card = context.pipe, context.card
    clips = clips_of(given, fps, notes)
    length = length_of(pipe, card, clips, asked.get("num_frames"))
    usual = asked.get("num_frames") or card.defaults.get("num_frames") or default_length(pipe, card)
    frames, rest = length or usual, dict(asked)
    if length is not None and card.length_argument is None:
        rest.pop("num_frames", None)
        check_frames(pipe, card, {"num_frames": length}, context.longest, context.window)
        if steps_of(pipe, card, clips) is not None:
            check_step(pipe, card, length)
    elif length is not None and usual is not None:  # without a default the pipeline takes as many as the video has
        rest["num_frames"] = length
    return cut_to(pipe, card, clips, frames, notes), length, rest


def _arguments(context: Context, wanted: dict[str, Any], length: int | None) -> dict[str, Any]:
    """Return the arguments of the pipeline's call, checked against the model, its memory and the plug-ins.

    ``length``: pixel frames that a given video sets; None leaves them to the arguments.
    """
    pipe, card = context.pipe, context.card
    check_decodes(pipe)
    wanted = with_length(pipe, card, wanted, wanted.get("num_frames"))
    arguments = call_arguments(pipe, card, wanted)
    sized = arguments if length is None else arguments | {"num_frames": length}
    check_frames(pipe, card, sized, context.longest, context.window)
    if context.positions is not None:
        frames = sized.get("num_frames") or default_length(pipe, card)
        if frames is not None:
            context.positions.check_length(card.token_frames(pipe, min(frames, context.window or frames)))
    check_size(pipe, card, arguments)
    check_given(pipe, card, sized)
    check_memory(pipe, card, sized, context.window, context.streams)
    check_plans(pipe, context.decoding)
    return arguments


def _rate(card: Card, given: Given, fps: Any) -> float:
    """Return the frames per second of a video: as asked, as the model was trained, or as a given video has them."""
    usual = card.fps or given.fps
    if fps is None and usual is None:
        raise UsageError(f"the frames per second of {card.title} are not known; give fps")
    rate = check_rate(usual if fps is None else fps)
    if card.fixed_rate and rate != card.fps:
        raise UsageError(f"fps={quote(fps)}: {card.title} makes {card.fps:g} frames per second alone; leave fps out")
    return rate


def _preview(context: Context, fps: float) -> Callable[[Tensor], Video | None]:
    if context.turns is None:
        return partial(preview, context.pipe, fps=fps)
    return partial(preview, context.pipe, fps=fps, heading=context.turns.estimate)


@contextmanager
def _looking_ahead(context: Context, watch: Watch) -> Iterator[None]:
    """Report before the first step which plug-ins will do nothing in this run."""
    outlook = Outlook(context.session, watch.report_notes)
    context.session.watchers.append(outlook)
    try:
        yield
    finally:
        context.session.watchers.remove(outlook)


def _run(context: Context, watch: Watch, arguments: dict[str, Any], generator: torch.Generator) -> Any:
    """Call the pipeline; a refusal by it or by a rule is an error in the request, and what the caller's own functions
    raise is raised unchanged."""
    try:
        called = as_call(context.card, arguments) | chained(context.pipe, watch, arguments)
        return context.pipe(**called, generator=generator, output_type="np")
    except Exception as error:
        if error is watch.raised or isinstance(error, GenkitError):
            raise
        if is_out_of_memory(error):
            raise GenkitError(out_of_memory(context.pipe, context.card, arguments, error, watch.when)) from error
        if (refusal := _refusal(error)) is not None:
            raise refusal from error
        if further := _further(context, arguments):
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise GenkitError(
                f"the pipeline failed ({reason}) with {further}; correct that, or leave it out"
            ) from error
        raise
    finally:
        context.session.run.events = None  # a call of the pipeline itself reads its own


def _refusal(error: Exception) -> GenkitError | None:
    """Return what an exception says of the request, of the plug-ins in the model or of its compilation."""
    if EAGER in str(error):
        return UsageError(EAGER)
    if isinstance(error, ValueError):
        return UsageError(str(error))
    return GenkitError(str(error)) if isinstance(error, UnroutedError) else None


def _further(context: Context, arguments: dict[str, Any]) -> str:
    """Return the caller's arguments that genkit does not know, a possible cause of an unexpected failure."""
    usual = {*Request.model_fields, *context.card.defaults, "frame_rate"}
    return ", ".join(f"{name}={quote(value)}" for name, value in arguments.items() if name not in usual)


def _own(pipe: Any, fps: float, seed: int) -> dict[str, Any]:
    """Return the frame rate for LTX, which derives time from it, and the seed where windows draw from it again."""
    taken = arguments_of(pipe)
    return {name: value for name, value in (("frame_rate", fps), ("seed", seed % LARGEST_SEED)) if name in taken}


def _seconds(watch: Watch, ended: float) -> Seconds:
    done = watch.ended or ended
    denoise = done - watch.begun
    return Seconds(
        denoise=denoise, per_step=denoise / max(1, watch.steps), decode=ended - done, total=ended - watch.begun
    )
