"""Watch a run from outside: check that everything is finite, report stages, steps and pace."""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from genkit.generation.events import OnEvent, Progress, no_preview
from genkit.generation.sentinels import check_encoded, check_latents

if TYPE_CHECKING:
    from genkit.video.video import Video

Preview = Callable[[], "Video | None"]


@dataclass
class Watch:
    """Observer of every stage and step of a run."""

    total: int
    on_event: OnEvent | None
    preview: Callable[[Tensor], "Video | None"] = lambda latents: None
    """Makes a preview of the latents after a step."""
    steps: int = 0
    begun: float = field(default_factory=time.perf_counter)
    ended: float | None = None
    stage: str = "encode"
    """``encode``, ``denoise`` or ``decode``."""
    infinite: int = 0
    """Number of decoded pieces with NaN or infinity."""
    raised: BaseException | None = None
    """Exception that one of the caller's functions raised."""

    @property
    def when(self) -> str:
        """Stage of the run, as the end of a sentence."""
        if self.stage == "encode":
            return "before the end of the first step"
        return "in decoding" if self.stage == "decode" else f"after step {self.steps} of {self.total}"

    def calling(self, theirs: Callable[..., Any], *words: Any) -> Any:
        """Call one of the caller's functions, and store what it raises, which is not an error of the pipeline."""
        try:
            return theirs(*words)
        except BaseException as error:
            self.raised = error
            raise

    def after_step(self, pipe: Any, index: int, latents: Tensor) -> None:
        """Report solver step ``index``, counted from 0; the total is what the pipeline says, else the scheduler."""
        steps = getattr(pipe, "num_timesteps", None) or len(pipe.scheduler.timesteps)
        self.total = max(steps, index + 1)  # a pipeline of chunks goes through its schedule several times
        self(index, latents)

    def __call__(self, index: int, latents: Tensor) -> None:
        """Check and report solver step ``index``, counted from 0.

        Raises:
            NotFiniteError: the latents contain NaN or infinity.
        """
        self.steps, self.ended, self.stage = index + 1, time.perf_counter(), "denoise"
        self.infinite = 0  # what a callback decoded does not count
        check_latents(latents, self.steps, self.total)
        self._report("denoise", partial(self.preview, latents))
        if self.steps == self.total:
            self._report("decode")

    def report_notes(self, notes: tuple[str, ...]) -> None:
        """Report what will not run as asked, before the first step."""
        if notes and self.on_event is not None:
            self.calling(self.on_event, Progress(step=0, total=0, seconds=0.0, left=0.0, stage="encode", notes=notes))

    def _report(self, stage: str, preview: Preview = no_preview) -> None:
        self.stage = stage
        if self.on_event is None:
            return
        spent = (self.ended or self.begun) - self.begun
        left = spent / max(1, self.steps) * (self.total - self.steps)
        event = Progress(step=self.steps, total=self.total, seconds=spent, left=left, stage=stage, preview=preview)
        self.calling(self.on_event, event)

    @contextmanager
    def watching(self, pipe: Any) -> Iterator[None]:
        """Check the outputs of text encoder and decoder, and report each call of the decoder, so that decoding can be
        stopped between two pieces."""
        with ExitStack() as stack:
            stack.enter_context(_looked_at(pipe, "encode_prompt", partial(check_encoded, _encoder(pipe))))
            decoder = getattr(getattr(pipe, "vae", None), "decoder", None)
            if isinstance(decoder, nn.Module):
                before = decoder.register_forward_pre_hook(lambda module, arguments: self._report("decode"))
                stack.callback(before.remove)
                stack.callback(decoder.register_forward_hook(self._decoded).remove)
            yield

    def _decoded(self, module: nn.Module, arguments: Any, output: Any) -> None:
        found = output[0] if isinstance(output, tuple) else getattr(output, "sample", output)
        if isinstance(found, Tensor) and not bool(torch.isfinite(found).all()):
            self.infinite += 1


def _encoder(pipe: Any) -> Any:
    return getattr(pipe, "text_encoder", None)


@contextmanager
def _looked_at(target: Any, method: str, look: Callable[[Any], None]) -> Iterator[None]:
    """Pass what a method of an object returns to ``look``, until the block ends."""
    if not hasattr(target, method):
        yield
        return
    original, before = getattr(target, method), target.__dict__.get(method)

    @functools.wraps(original)
    def looking(*words: Any, **named: Any) -> Any:
        out = original(*words, **named)
        look(out)
        return out

    target.__dict__[method] = looking
    try:
        yield
    finally:
        if before is None:
            target.__dict__.pop(method, None)
        else:
            target.__dict__[method] = before
