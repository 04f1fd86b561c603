"""From a request to a video: load, apply, generate.

Request: opening()           -> load
         plugins             -> apply
         prompt, arguments() -> Handle.generate -> the pipeline's call -> Receipt
                                                -> Request.of_call     -> Video.request, in the recipe
"""

import time
from typing import Any

from genkit.checks.arguments import check_prompt
from genkit.checks.options import check_options
from genkit.checks.values import check_rate
from genkit.errors import UsageError
from genkit.generation.events import OnEvent, Progress
from genkit.generation.handle import apply
from genkit.inputs.record import path_of
from genkit.inputs.words import MEDIA
from genkit.loading import load
from genkit.plugins.catalogue import parse
from genkit.plugins.conflicts import check_together
from genkit.request import FILES, OPENING, Request
from genkit.video.video import Video


def make(request: Request, on_event: OnEvent | None = None, pipe: Any = None) -> Video:
    """Make the video that a request describes.

    ``pipe`` is an open pipeline; None opens ``request.model``. Everything that can be refused without the model is
    refused before it is opened.
    """
    check_request(request)
    plugins = [parse(text) for text in request.plugins]
    begun = time.perf_counter()
    if pipe is None:
        if on_event is not None:
            on_event(Progress.begin("load"))
        pipe = load(**request.opening())
    seconds = time.perf_counter() - begun
    if on_event is not None:
        on_event(Progress.begin("encode"))
    with apply(pipe, *plugins) as handle:
        video = handle.generate(request.prompt, on_event=on_event, **request.arguments())
    return _complete(video, request, seconds)


def check_request(request: Request) -> None:
    """Refuse everything in a request that can be refused without its model.

    Raises:
        UsageError: a plug-in or an argument is invalid, plug-ins cannot be combined, or a file is not the one that a
            recipe names.
    """
    plugins = [parse(text) for text in request.plugins]
    check_together(plugins)
    files = {name: value for name in MEDIA if (value := getattr(request, name)) is not None}
    for name, value in files.items():
        for one in value if isinstance(value, list) else [value]:
            path_of(name, one)
    if isinstance(request.prompt, str):
        if request.prompt or not files:  # a pipeline may follow an image alone; else it refuses that
            check_prompt(request.prompt)
    elif not any("text" in plugin.seams for plugin in plugins):
        raise UsageError("the prompt is a list of events, but there is no timeline plug-in; add it to the plug-ins")
    if request.fps is not None:
        check_rate(request.fps)
    check_options({name: value for name, value in request.arguments().items() if name not in files})


def _complete(video: Video, request: Request, load_seconds: float) -> Video:
    """Add what only ``make`` knows: the time to open the model, and how it was opened."""
    assert video.receipt is not None
    seconds = video.receipt.seconds.model_copy(update={"load": load_seconds})
    opened = {name: value for name, value in request.opening().items() if value is not None}
    opened |= {name: list(opened[name]) for name in FILES if name in opened}  # as JSON has them
    receipt = video.receipt.model_copy(update={"seconds": seconds, "model": request.model})
    called = {name: value for name, value in video.request.items() if name not in OPENING}
    return Video(video.frames, fps=video.fps, request=called | opened, receipt=receipt)
