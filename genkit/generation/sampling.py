"""One run of a pipeline: check the arguments, watch the steps, build the video and its receipt."""

import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genkit.attention.calls.run import RunRecord
from genkit.attention.facts.card import Card
from genkit.attention.model.session import UnroutedError
from genkit.attention.planning.outlook import Outlook
from genkit.checks.arguments import (
    call_arguments,
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
from genkit.generation.prompts import as_argument, check_texts, note_unknown_words, read_events
from genkit.generation.receipts.where import where
from genkit.generation.sentinels import check_decoded, notes_on
from genkit.generation.watch import Watch
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
    pipe, fps = context.pipe, check_rate(_usual_rate(context.card) if fps is None else fps)
    number, asked = draw_seed(seed), check_options(asked)
    if on_event is not None:
        function("on_event", on_event)
    events = read_events(context, prompt, asked)
    arguments = _arguments(context, asked | as_argument(context, prompt, asked, events) | _frame_rate(pipe, fps))
    named = {name: to_json(name, value) for name, value in arguments.items()}
    run = context.begin_run(fps)
    run.events = events
    check_texts(context, arguments, fps)
    _note_what_is_known(context, prompt, arguments)
    steps = arguments.get("num_inference_steps") or default_of(pipe, "num_inference_steps")
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    watch = Watch(total=steps, on_event=on_event, preview=_preview(context, fps))
    watch.report_notes(tuple(run.notes))
    with watch.watching(pipe), _looking_ahead(context, watch), steps_watched(pipe, watch):
        output = _run(context, watch, arguments, generator_of(number))
    seconds = _seconds(watch, time.perf_counter())
    frames = output.frames[0]
    check_decoded(pipe.vae, frames, watch.infinite)
    _note_what_differs(run, watch, arguments, output.frames)
    receipt = Receipt(
        **where(pipe, context.card, context.session),
        seed=number,
        frames_asked=asked.get("num_frames"),
        frames=len(frames),
        height=frames.shape[1],
        width=frames.shape[2],
        fps=fps,
        arguments={name: value for name, value in named.items() if name not in ("prompt", "num_frames")},
        plugins=tuple(text_of(plugin) for plugin in context.plugins),
        attention=Attention.from_run(run),
        notes=tuple(run.notes),
        seconds=seconds,
        started=started,
        versions=versions(),
    )
    request = Request.of_call(
        {name: named[name] for name in asked} | {"seed": number, "fps": fps},
        prompt=_prompt_in_json(prompt),
        model=receipt.model,
        plugins=receipt.plugins,
    )
    return Video(frames, fps=fps, request=request.model_dump(mode="json", exclude_none=True), receipt=receipt)


def _arguments(context: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the pipeline's call, checked against the model, its memory and the plug-ins."""
    pipe, card = context.pipe, context.card
    arguments = call_arguments(pipe, card, wanted, longest=context.longest, window=context.window)
    if context.positions is not None:
        frames = arguments.get("num_frames") or default_of(pipe, "num_frames")
        context.positions.check_length(card.token_frames(pipe, min(frames, context.window or frames)))
    check_size(pipe, card, arguments)
    check_given(pipe, card, arguments)
    check_memory(pipe, card, arguments, context.window, context.streams)
    check_plans(pipe, context.decoding)
    return arguments


def _usual_rate(card: Card) -> float:
    if card.fps is None:
        raise UsageError(f"the frames per second of {card.title} are not known; give fps")
    return card.fps


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


def _note_what_differs(run: RunRecord, watch: Watch, arguments: dict[str, Any], videos: Any) -> None:
    """Note after the run what only the result shows."""
    made, asked = len(videos[0]), arguments.get("num_frames")
    if asked not in (None, made):
        run.note(f"{asked} frames were asked for and the pipeline made {made}")
    if len(videos) > 1:
        run.note(f"the pipeline made {len(videos)} videos, and only the first is kept")
    if watch.steps < watch.total:
        run.note(f"the run was ended after step {watch.steps} of {watch.total}, so the video is unfinished")
    for note in notes_on(videos[0]):
        run.note(note)


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
        if isinstance(error, ValueError):
            raise UsageError(str(error)) from error
        if isinstance(error, UnroutedError):
            raise GenkitError(str(error)) from error
        if further := _further(context, arguments):
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise GenkitError(
                f"the pipeline failed ({reason}) with {further}; correct that, or leave it out"
            ) from error
        raise
    finally:
        context.session.run.events = None  # a call of the pipeline itself reads its own


def _further(context: Context, arguments: dict[str, Any]) -> str:
    """Return the caller's arguments that genkit does not know, a possible cause of an unexpected failure."""
    usual = {*Request.model_fields, *context.card.defaults, "frame_rate"}
    return ", ".join(f"{name}={quote(value)}" for name, value in arguments.items() if name not in usual)


def _frame_rate(pipe: Any, fps: float) -> dict[str, Any]:
    """Return the frame rate for LTX, which takes it as an argument and derives time from it."""
    return {"frame_rate": fps} if "frame_rate" in inspect.signature(type(pipe).__call__).parameters else {}


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
