"""Watches a run from outside: finite latents, progress, pace, the beginning of each stage."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from genkit.errors import NotFiniteError
from genkit.events import OnEvent, Progress, nothing_to_see

if TYPE_CHECKING:
    from genkit.video import Video

Preview = Callable[[], "Video | None"]


@dataclass
class Watch:
    """Looks at every step."""

    total: int
    on_event: OnEvent | None
    preview: Callable[[Tensor], "Video | None"] = lambda latents: None
    """Makes frames of the latents after a step."""
    steps: int = 0
    begun: float = field(default_factory=time.perf_counter)
    ended: float | None = None

    def __call__(self, index: int, latents: Tensor) -> None:
        """After solver step ``index`` (0 first).

        Raises:
            NotFiniteError: the latents hold NaN or infinity.
        """
        self.steps, self.ended = index + 1, time.perf_counter()
        if not bool(torch.isfinite(latents).all()):
            raise NotFiniteError(
                f"the latents became NaN or infinite in step {index + 1} of {self.total}; stopped there and wrote "
                "nothing; try dtype float32 or bfloat16, or fewer plug-ins"
            )
        self._tell("denoise", partial(self.preview, latents))
        if self.steps == self.total:
            self._tell("decode")

    def _tell(self, stage: str, preview: Preview = nothing_to_see) -> None:
        if self.on_event is None:
            return
        spent = (self.ended or self.begun) - self.begun
        left = spent / max(1, self.steps) * (self.total - self.steps)
        self.on_event(
            Progress(step=self.steps, total=self.total, seconds=spent, left=left, stage=stage, preview=preview)
        )

    @contextmanager
    def decoding(self, pipe: Any) -> Iterator[None]:
        """Tell each call of the decoder, so that a decode that goes piece by piece can be stopped between two."""
        decoder = getattr(getattr(pipe, "vae", None), "decoder", None)
        if self.on_event is None or not isinstance(decoder, nn.Module):
            yield
            return
        hook = decoder.register_forward_pre_hook(lambda module, arguments: self._tell("decode"))
        try:
            yield
        finally:
            hook.remove()
