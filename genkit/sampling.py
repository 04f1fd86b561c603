"""One run of a pipeline: arguments checked, steps watched, frames and receipt put together."""

import inspect
import time
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from genkit.arguments import call_arguments, check_length_of_text, check_size, drawn_seed
from genkit.attention.grid import VideoGrid
from genkit.attention.session import UnroutedError
from genkit.catalogue import text_of
from genkit.errors import GenkitError, UsageError
from genkit.events import OnEvent
from genkit.preview import preview
from genkit.receipt import Attention, Receipt, Seconds, peak_memory_bytes, versions
from genkit.schedulers.seeds import generator_of
from genkit.video import Video
from genkit.watch import Watch

if TYPE_CHECKING:
    from genkit.handle import Handle


def sample(
    handle: "Handle",
    prompt: Any,
    asked: dict[str, Any],
    *,
    seed: int | None,
    fps: float | None,
    on_event: OnEvent | None,
) -> Video:
    """Run the pipeline once; see ``Handle.generate``."""
    pipe, fps = handle.pipe, checked_rate(handle.card.fps if fps is None else fps)
    wanted = asked | {"prompt": prompt_text(handle, prompt)} | _frame_rate(pipe, fps)
    arguments = call_arguments(pipe, handle.card, wanted, longest=handle.longest)
    check_size(pipe, handle.card, arguments)
    number = drawn_seed(seed)
    run = handle.begin_run(fps)
    _check_text(handle, prompt, arguments, fps)
    steps = arguments.get("num_inference_steps") or _default(pipe, "num_inference_steps")
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    watch = Watch(total=steps, on_event=on_event, preview=partial(preview, pipe, fps=fps))
    with watch.decoding(pipe):
        output = _run(pipe, arguments | _callback(pipe, watch), generator_of(number))
    run.state.pop("prompt", None)
    seconds = _seconds(watch, time.perf_counter())
    frames = output.frames[0]
    _note_what_differs(handle, prompt, arguments, len(frames))
    receipt = Receipt(
        **_where(pipe, handle),
        seed=number,
        frames_asked=asked.get("num_frames"),
        frames=len(frames),
        height=frames.shape[1],
        width=frames.shape[2],
        fps=fps,
        arguments={name: value for name, value in arguments.items() if name not in ("prompt", "num_frames")},
        plugins=tuple(text_of(plugin) for plugin in handle.plugins),
        attention=Attention.from_run(run),
        notes=tuple(run.notes),
        seconds=seconds,
        started=started,
        versions=versions(),
    )
    return Video(frames, fps=fps, request=_request(receipt, prompt, asked, fps), receipt=receipt)


def checked_rate(fps: float) -> float:
    """The frame rate itself, if a video can have it."""
    if not 0.1 <= fps <= 1000:
        raise UsageError(f"fps={fps!r} must be a number of frames per second between 0.1 and 1000")
    return float(fps)


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


def _note_what_differs(handle: "Handle", prompt: Any, arguments: dict[str, Any], made: int) -> None:
    """Everything in which the video differs from what a reader of the request would expect."""
    run = handle.session.run
    if handle.text is None and "|" in arguments["prompt"]:
        run.note("the prompt holds '|' but no timeline plug-in is in, so it was read as part of the text")
    if arguments.get("num_frames") not in (None, made):
        run.note(f"{arguments['num_frames']} frames were asked for and the pipeline made {made}")
    _note_unknown_words(handle, prompt)


def _run(pipe: Any, arguments: dict[str, Any], generator: torch.Generator) -> Any:
    """Call the pipeline; what it or a rule refuses is a mistake in the request."""
    try:
        return pipe(**arguments, generator=generator, output_type="np")
    except GenkitError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from error
    except UnroutedError as error:
        raise GenkitError(str(error)) from error


def prompt_text(handle: "Handle", prompt: Any) -> str:
    """The prompt as the text that a pipeline takes; events become ``"a | b"`` and keep their times in the seam."""
    if isinstance(prompt, str):
        return prompt
    if handle.text is None:
        raise UsageError("the prompt is a list of events, and no timeline plug-in is in; add Timeline() to apply()")
    return " | ".join(handle.text.split(prompt))


def _check_text(handle: "Handle", prompt: Any, arguments: dict[str, Any], fps: float) -> None:
    """Events must fit the video and texts the encoder, before anything runs."""
    texts = [arguments["prompt"]]
    if handle.text is not None:
        frames = arguments.get("num_frames") or _default(handle.pipe, "num_frames")
        card, pipe = handle.card, handle.pipe
        grid = VideoGrid(frames=card.token_frames(pipe, frames), rows=1, cols=1, stride=card.stride(pipe), fps=fps)
        handle.text.check(prompt, grid)
        handle.session.run.state["prompt"] = prompt
        texts = handle.text.split(prompt)
    limit = arguments.get("max_sequence_length") or _default(handle.pipe, "max_sequence_length")
    check_length_of_text(handle.pipe, texts, limit)


def _default(pipe: Any, name: str) -> Any:
    parameter = inspect.signature(type(pipe).__call__).parameters.get(name)
    return None if parameter is None or parameter.default is inspect.Parameter.empty else parameter.default


def _frame_rate(pipe: Any, fps: float) -> dict[str, Any]:
    """LTX takes the frame rate as an argument and reads time from it."""
    return {"frame_rate": fps} if "frame_rate" in inspect.signature(type(pipe).__call__).parameters else {}


def _callback(pipe: Any, watch: Watch) -> dict[str, Any]:
    """The pipeline's own callback argument, modern or old."""
    names = inspect.signature(type(pipe).__call__).parameters

    def at_end(pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        watch(index, tensors["latents"])
        return {}

    if "callback_on_step_end" in names:
        return {"callback_on_step_end": at_end}
    return {"callback": lambda index, timestep, latents: watch(index, latents), "callback_steps": 1}


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
    options = {name: value for name, value in asked.items() if name not in Request.model_fields and value is not None}
    request = Request(
        prompt=prompt if isinstance(prompt, str) else [_as_mapping(event) for event in prompt],
        model=receipt.model,
        plugins=receipt.plugins,
        seed=receipt.seed,
        fps=fps,
        options=options,
        **own,
    )
    return request.model_dump(mode="json", exclude_none=True)


def _as_mapping(event: Any) -> dict[str, Any]:
    from genkit.schedulers.timeline import parse_events

    found = parse_events([event])[0]
    times = {"start": found.start, "end": found.end}
    return {"prompt": found.prompt} | {name: time for name, time in times.items() if time is not None}
