"""One run of a pipeline: check the arguments, watch the steps, build the video and its receipt."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genkit.attention.calls.run import RunRecord
from genkit.attention.facts.call import answer_of
from genkit.attention.facts.card import Card
from genkit.attention.model.hooks import EAGER
from genkit.attention.model.session import UnroutedError
from genkit.attention.planning.outlook import Outlook
from genkit.checks.arguments import (
    arguments_of,
    call_arguments,
    check_decodes,
    check_frames,
    check_size,
    default_of,
    draw_seed,
)
from genkit.checks.fitting import check_memory, out_of_memory
from genkit.checks.latents import check_given
from genkit.checks.options import check_options, to_json
from genkit.checks.values import check_rate, function, quote
from genkit.errors import GenkitError, UsageError, first_line, is_out_of_memory
from genkit.generation.callbacks import chained, steps_watched
from genkit.generation.context import Context
from genkit.generation.decode_seam import check_plans
from genkit.generation.events import OnEvent
from genkit.generation.preview import preview
from genkit.generation.receipts.where import where
from genkit.generation.sentinels import check_decoded, notes_on
from genkit.generation.start.prompts import as_argument, check_texts, note_unknown_words, read_events
from genkit.generation.watch import Watch
from genkit.inputs.arguments import as_arguments, steps_left
from genkit.inputs.given import Given, read_given, split
from genkit.inputs.length import Clips, clips_of, cut_to, length_of, steps_of, takes_length
from genkit.opening.stated import request_of
from genkit.plugins.catalogue import text_of
from genkit.record.receipt import Attention, Receipt, Seconds, versions
from genkit.request import Request
from genkit.schedulers.seeds import generator_of
from genkit.video.video import Video


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
    asked = check_options(asked)
    if on_event is not None:
        function("on_event", on_event)
    events = read_events(context, prompt, asked)
    given = read_given(pipe, context.card, words, asked, notes.append)
    fps = _rate(context.card, given, fps)
    clips, length, rest = _lengths(context, given, asked, fps, notes)
    arguments = _arguments(
        context, rest | as_argument(context, prompt, asked, events) | _own(pipe, fps, number), length
    )
    named = {name: to_json(name, value) for name, value in (asked | arguments).items()}
    arguments |= as_arguments(pipe, context.card, given, clips, arguments, notes)
    steps = arguments.get("num_inference_steps") or default_of(pipe, "num_inference_steps")
    left = steps_left(pipe, arguments, steps)
    run = context.begin_run(fps)
    run.events = events
    for note in notes:
        run.note(note)
    check_texts(context, arguments, fps, length)
    _note_what_is_known(context, prompt, arguments)
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    watch = Watch(total=steps, on_event=on_event, preview=_preview(context, fps))
    watch.report_notes(tuple(run.notes))
    with watch.watching(pipe), _looking_ahead(context, watch), steps_watched(pipe, watch):
        output = _run(context, watch, arguments, generator_of(number))
    seconds = _seconds(watch, time.perf_counter())
    videos = getattr(output, answer_of(pipe))
    frames = videos[0]
    check_decoded(pipe.vae, frames, watch.infinite)
    _note_what_differs(run, watch, arguments, videos, left)
    _note_sound(run, output)
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
        prompt=_prompt_in_json(prompt),
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
    usual = asked.get("num_frames") or card.defaults.get("num_frames") or default_of(pipe, "num_frames")
    frames, rest = length or usual, dict(asked)
    if length is not None and not takes_length(pipe):
        rest.pop("num_frames", None)
        if steps_of(pipe, card, clips) is not None:
            check_frames(pipe, card, {"num_frames": length}, context.longest, context.window)
    elif length is not None and usual is not None:  # without a default the pipeline takes as many as the video has
        rest["num_frames"] = length
    return cut_to(pipe, card, clips, frames, notes), length, rest


def _arguments(context: Context, wanted: dict[str, Any], length: int | None) -> dict[str, Any]:
    """Return the arguments of the pipeline's call, checked against the model, its memory and the plug-ins.

    ``length``: pixel frames that a given video sets; None leaves them to the arguments.
    """
    pipe, card = context.pipe, context.card
    check_decodes(pipe)
    arguments = call_arguments(pipe, card, wanted, longest=context.longest, window=context.window)
    sized = arguments if length is None else arguments | {"num_frames": length}
    if context.positions is not None:
        frames = sized.get("num_frames") or default_of(pipe, "num_frames")
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


def _note_what_is_known(context: Context, prompt: Any, arguments: dict[str, Any]) -> None:
    """Note before the run where the video will differ from what the request suggests."""
    run, text = context.session.run, arguments.get("prompt")
    if context.text is None and text is not None and "|" in text:
        run.note("the prompt contains '|' but there is no timeline plug-in, so it was read as part of the text")
    if text is not None:
        note_unknown_words(context, prompt)
    for name in ("callback_on_step_end", "callback"):
        if name in arguments:
            run.note(f"{name}: {to_json(name, arguments[name])} ran after each step, and its code is not in the recipe")


def _note_what_differs(run: RunRecord, watch: Watch, arguments: dict[str, Any], videos: Any, left: int | None) -> None:
    """Note after the run what only the result shows.

    ``left``: steps of a run that begins in the middle of the schedule; None runs all of them.
    """
    made, asked = len(videos[0]), arguments.get("num_frames")
    if asked not in (None, made):
        run.note(f"{asked} frames were asked for and the pipeline made {made}")
    if len(videos) > 1:
        run.note(f"the pipeline made {len(videos)} videos, and the first is returned; generate_many makes several")
    if watch.steps < (left or watch.total):
        run.note(f"the run was ended after step {watch.steps} of {watch.total}, so the video is unfinished")
    for note in notes_on(videos[0]):
        run.note(note)


def _note_sound(run: RunRecord, output: Any) -> None:
    """Note that a pipeline of video and sound made both."""
    if any(getattr(output, name, None) is not None for name in ("audio", "sound")):
        run.note("the pipeline made sound as well, which the video does not contain")


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
        called = arguments | chained(context.pipe, watch, arguments)
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
    return {name: value for name, value in (("frame_rate", fps), ("seed", seed)) if name in taken}


def _seconds(watch: Watch, ended: float) -> Seconds:
    done = watch.ended or ended
    denoise = done - watch.begun
    return Seconds(
        denoise=denoise, per_step=denoise / max(1, watch.steps), decode=ended - done, total=ended - watch.begun
    )


def _prompt_in_json(prompt: Any) -> Any:
    """Return the prompt in JSON values; empty if there were only embeddings."""
    return (prompt or "") if prompt is None or isinstance(prompt, str) else [_as_mapping(event) for event in prompt]


def _as_mapping(event: Any) -> dict[str, Any]:
    from genkit.schedulers.timeline import parse_events

    found = parse_events([event])[0]
    times = {"start": found.start, "end": found.end}
    return {"prompt": found.prompt} | {name: time for name, time in times.items() if time is not None}
