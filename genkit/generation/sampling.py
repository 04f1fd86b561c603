"""One run of a pipeline: arguments checked, steps watched, frames and receipt put together."""

import inspect
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from genkit.attention.calls.run import Run
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.model.session import UnroutedError
from genkit.attention.planning.outlook import Outlook
from genkit.checks.arguments import (
    call_arguments,
    check_length_of_text,
    check_prompt,
    check_size,
    checked_rate,
    default_of,
    drawn_seed,
    text_limit,
    tokens_of,
)
from genkit.checks.fitting import check_memory, out_of_memory
from genkit.checks.latents import check_given
from genkit.checks.options import checked, stored
from genkit.checks.values import function, shown
from genkit.errors import GenkitError, UsageError, first_line, is_out_of_memory
from genkit.generation.callbacks import chained
from genkit.generation.events import OnEvent
from genkit.generation.preview import preview
from genkit.generation.sentinels import check_decoded, notes_on
from genkit.generation.watch import Watch
from genkit.plugins.catalogue import text_of
from genkit.record.receipt import Attention, Receipt, Seconds, peak_memory_bytes, versions
from genkit.schedulers.seeds import generator_of
from genkit.video.video import Video

if TYPE_CHECKING:
    from genkit.generation.handle import Handle


def sample(
    handle: "Handle",
    prompt: Any,
    asked: dict[str, Any],
    *,
    seed: Any,
    fps: Any,
    on_event: OnEvent | None,
) -> Video:
    """Run the pipeline once; see ``Handle.generate``."""
    pipe, fps = handle.pipe, checked_rate(handle.card.fps if fps is None else fps)
    number, asked = drawn_seed(seed), checked(asked)
    if on_event is not None:
        function("on_event", on_event)
    wanted = asked | _prompt(handle, prompt, asked) | _frame_rate(pipe, fps)
    arguments = call_arguments(pipe, handle.card, wanted, longest=handle.longest)
    check_size(pipe, handle.card, arguments)
    check_given(pipe, handle.card, arguments)
    check_memory(pipe, handle.card, arguments)
    named = {name: stored(name, value) for name, value in arguments.items()}
    run = handle.begin_run(fps)
    _check_text(handle, prompt, arguments, fps)
    _note_what_is_known(handle, prompt, arguments)
    steps = arguments.get("num_inference_steps") or default_of(pipe, "num_inference_steps")
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    watch = Watch(total=steps, on_event=on_event, preview=partial(preview, pipe, fps=fps))
    watch.tell_notes(tuple(run.notes))
    with watch.watching(pipe), _looking_ahead(handle, watch):
        output = _run(handle, watch, arguments, generator_of(number))
    run.state.pop("prompt", None)
    seconds = _seconds(watch, time.perf_counter())
    frames = output.frames[0]
    check_decoded(pipe.vae, frames, watch.infinite)
    _note_what_differs(run, watch, arguments, output.frames)
    receipt = Receipt(
        **_where(pipe, handle),
        seed=number,
        frames_asked=asked.get("num_frames"),
        frames=len(frames),
        height=frames.shape[1],
        width=frames.shape[2],
        fps=fps,
        arguments={name: value for name, value in named.items() if name not in ("prompt", "num_frames")},
        plugins=tuple(text_of(plugin) for plugin in handle.plugins),
        attention=Attention.from_run(run),
        notes=tuple(run.notes),
        seconds=seconds,
        started=started,
        versions=versions(),
    )
    options = {name: named[name] for name in asked}
    return Video(frames, fps=fps, request=_request(receipt, prompt, options, fps), receipt=receipt)


def _where(pipe: Any, handle: "Handle") -> dict[str, Any]:
    """The part of the receipt that says which model ran on what."""
    device = str(pipe._execution_device)
    model = next(iter(handle.session.models.values()))
    return {
        "model": _model_name(pipe),
        "family": handle.card.family,
        "pipeline": type(pipe).__name__,
        "device": device,
        "dtype": str(model.dtype).removeprefix("torch."),
        "peak_memory_bytes": peak_memory_bytes(device),
    }


def _note_what_is_known(handle: "Handle", prompt: Any, arguments: dict[str, Any]) -> None:
    """Everything in which the video will differ from what a reader of the request would expect."""
    run, text = handle.session.run, arguments.get("prompt")
    if handle.text is None and text is not None and "|" in text:
        run.note("the prompt holds '|' but no timeline plug-in is in, so it was read as part of the text")
    if text is not None:
        _note_unknown_words(handle, prompt)
    for name in ("callback_on_step_end", "callback"):
        if name in arguments:
            run.note(f"{name}: {stored(name, arguments[name])} ran after the steps, and no file holds what it does")


def _note_what_differs(run: Run, watch: Watch, arguments: dict[str, Any], videos: Any) -> None:
    """The same, of what only the end shows."""
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
def _looking_ahead(handle: "Handle", watch: Watch) -> Iterator[None]:
    """Tell before the first step which plug-ins will do nothing in this run."""
    outlook = Outlook(handle.session, watch.tell_notes)
    handle.session.watchers.append(outlook)
    try:
        yield
    finally:
        handle.session.watchers.remove(outlook)


def _run(handle: "Handle", watch: Watch, arguments: dict[str, Any], generator: torch.Generator) -> Any:
    """Call the pipeline; what it or a rule refuses is a mistake in the request, what the caller's own functions raise
    is raised as it is."""
    try:
        called = arguments | chained(handle.pipe, watch, arguments)
        return handle.pipe(**called, generator=generator, output_type="np")
    except Exception as error:
        if error is watch.raised or isinstance(error, GenkitError):
            raise
        if is_out_of_memory(error):
            raise GenkitError(out_of_memory(handle.pipe, handle.card, arguments, error, watch.when)) from error
        if isinstance(error, ValueError):
            raise UsageError(str(error)) from error
        if isinstance(error, UnroutedError):
            raise GenkitError(str(error)) from error
        if further := _further(handle, arguments):
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise GenkitError(
                f"the pipeline failed ({reason}) with {further}; correct that, or leave it out"
            ) from error
        raise


def _further(handle: "Handle", arguments: dict[str, Any]) -> str:
    """The arguments of the pipeline's own that the caller gave, in which the cause of an odd failure may lie."""
    from genkit.request import Request

    usual = {*Request.model_fields, *handle.card.defaults, "frame_rate"}
    return ", ".join(f"{name}={shown(value)}" for name, value in arguments.items() if name not in usual)


def _prompt(handle: "Handle", prompt: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """The prompt as an argument of the call; with ``prompt_embeds`` there is none."""
    if "prompt_embeds" not in asked:
        return {"prompt": prompt_text(handle, prompt)}
    if prompt is not None:
        raise UsageError(
            f"the prompt {shown(prompt)} and prompt_embeds both say what the video shows; give None as the prompt"
        )
    if handle.text is not None:
        raise UsageError(f"{handle.text.name} reads the prompt as a text, and prompt_embeds is none; leave one out")
    return {}


def prompt_text(handle: "Handle", prompt: Any) -> str:
    """The prompt as the text that a pipeline takes; events become ``"a | b"`` and keep their times in the seam."""
    if isinstance(prompt, str | bytes) or not isinstance(prompt, Sequence):
        check_prompt(prompt)
        return str(prompt)
    if handle.text is None:
        raise UsageError("the prompt is a list of events, and no timeline plug-in is in; add Timeline() to apply()")
    joined = " | ".join(handle.text.split(prompt))
    check_prompt(joined)
    return joined


def _check_text(handle: "Handle", prompt: Any, arguments: dict[str, Any], fps: float) -> None:
    """Events must fit the video and texts the encoder, before anything runs."""
    pipe, texts = handle.pipe, [arguments["prompt"]] if "prompt" in arguments else []
    if handle.text is not None:
        frames, card = arguments.get("num_frames") or default_of(pipe, "num_frames"), handle.card
        grid = VideoGrid(frames=card.token_frames(pipe, frames), rows=1, cols=1, stride=card.stride(pipe), fps=fps)
        handle.text.check(prompt, grid)
        handle.session.run.state["prompt"] = prompt
        texts = handle.text.split(prompt)
    limit = text_limit(pipe, arguments)
    check_length_of_text(pipe, texts, limit)
    count = tokens_of(pipe, arguments.get("negative_prompt") or "")
    if count > limit:
        handle.session.run.note(f"the negative prompt has {count} tokens of which this model reads {limit}")


def _frame_rate(pipe: Any, fps: float) -> dict[str, Any]:
    """LTX takes the frame rate as an argument and reads time from it."""
    return {"frame_rate": fps} if "frame_rate" in inspect.signature(type(pipe).__call__).parameters else {}


def _seconds(watch: Watch, ended: float) -> Seconds:
    done = watch.ended or ended
    denoise = done - watch.begun
    return Seconds(
        denoise=denoise, per_step=denoise / max(1, watch.steps), decode=ended - done, total=ended - watch.begun
    )


def _model_name(pipe: Any) -> str:
    from genkit.loading import TINY_WEIGHTS

    path = str(getattr(pipe.config, "_name_or_path", "") or type(pipe).__name__)
    return "tiny" if path == str(TINY_WEIGHTS) else path


def _note_unknown_words(handle: "Handle", prompt: Any) -> None:
    """The embedded model knows few words; say which it did not."""
    if handle.card.family != "tiny":
        return
    tokenizer = handle.pipe.tokenizer
    texts = handle.text.split(prompt) if handle.text else [prompt]
    words = [
        word for text in texts for word in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text.lower())
    ]
    unknown = [word for word, _ in words if tokenizer.convert_tokens_to_ids(word) == tokenizer.unk_token_id]
    if unknown:
        said = ", ".join(repr(word) for word in dict.fromkeys(unknown))
        handle.session.run.note(f"the embedded model does not know {said}; `genkit models` lists its words")


def _request(receipt: Receipt, prompt: Any, asked: dict[str, Any], fps: float) -> dict[str, Any]:
    """What would make this video again, in the fields of ``Request``."""
    from genkit.request import Request

    own = {name: value for name, value in asked.items() if name in Request.model_fields}
    options = {name: value for name, value in asked.items() if name not in Request.model_fields}
    request = Request(
        prompt=_told(prompt),
        model=receipt.model,
        plugins=receipt.plugins,
        seed=receipt.seed,
        fps=fps,
        options=options,
        **own,
    )
    return request.model_dump(mode="json", exclude_none=True)


def _told(prompt: Any) -> Any:
    """The prompt in JSON values; nothing where only embeddings said what the video shows."""
    return (prompt or "") if prompt is None or isinstance(prompt, str) else [_as_mapping(event) for event in prompt]


def _as_mapping(event: Any) -> dict[str, Any]:
    from genkit.schedulers.timeline import parse_events

    found = parse_events([event])[0]
    times = {"start": found.start, "end": found.end}
    return {"prompt": found.prompt} | {name: time for name, time in times.items() if time is not None}
