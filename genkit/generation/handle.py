"""``apply``: install plug-ins in a pipeline, and remove them without a trace."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from genkit.attention.calls.run import RunRecord
from genkit.checks.takes import takes_of
from genkit.errors import GenkitError, UsageError
from genkit.generation.asked import BUSY, CUT, Asked, check_parts
from genkit.generation.context import context_of
from genkit.generation.events import OnEvent
from genkit.generation.models.facts import check_first_forwards
from genkit.generation.receipts.direct import DirectCall
from genkit.generation.sampling import sample
from genkit.generation.seams import SEAMS, Installed
from genkit.inputs.words import Resize
from genkit.plugins.conflicts import check_together
from genkit.plugins.contract import Plugin
from genkit.record.receipt import Receipt

if TYPE_CHECKING:
    from genkit.video.video import Video


def apply(pipe: Any, *plugins: Plugin, check: bool = True) -> "Handle":
    """Install plug-ins in a pipeline, from ``genkit.load`` or built by the user.

    Use the result as a context manager, or call ``remove()``; the plug-ins stay in if the result is dropped, until
    ``genkit.remove(pipe)``. Without plug-ins the pipeline computes what it always did, bit for bit.

    Args:
        pipe: the pipeline.
        plugins: in any order.
        check: in the first forward of a model whose class or facts are not those of this package's tests, compare the
            facts with what it does (docs/families.md); False trusts them, which the receipt says.

    Raises:
        UsageError: a plug-in cannot work with this model or with another plug-in, or the pipeline already has plug-ins.
    """
    return Handle(pipe, plugins, check)


class Handle:
    """A pipeline with its plug-ins installed."""

    last: "Video | None" = None
    """The last video made; None before the first."""

    def __init__(self, pipe: Any, plugins: Sequence[Plugin], check: bool = True) -> None:
        self._making = threading.Lock()
        self._refuse_second(pipe)
        check_together(plugins)
        self.context = context_of(pipe, plugins)
        self.pipe, self.plugins = pipe, self.context.plugins
        self.card, self.session = self.context.card, self.context.session
        check_first_forwards(self.session, check)
        self.asked = Asked(pipe, self, self.context.parts)
        self.receipts: list[Receipt] = []
        """Receipts of the videos made since ``apply``, in order: by ``generate``, and by calling the pipeline."""
        self._call: DirectCall | None = None
        self._installed: list[Installed] = []
        self._install()

    def _refuse_second(self, pipe: Any) -> None:
        other: Handle | None = getattr(pipe, "_genkit_handle", None)
        if other is not None and other.asked.busy:
            raise GenkitError(BUSY)
        if other is not None:
            raise UsageError(
                "this pipeline already has plug-ins; take them out with genkit.remove(pipe), or give all of them to "
                "one apply()"
            )

    def _install(self) -> None:
        if self.pipe.__dict__.setdefault("_genkit_handle", self) is not self:  # two threads came at the same time
            self._refuse_second(self.pipe)
            self.pipe.__dict__["_genkit_handle"] = self
        try:
            self._check_budgets()
            self.session.install()
            for install in SEAMS:
                if (seam := install(self.context, self.asked)) is not None:
                    self._installed.append(seam)
        except BaseException as error:
            self.remove()
            if isinstance(error, LookupError | ValueError) and not isinstance(error, GenkitError):
                raise UsageError(str(error)) from None
            raise

    def _check_budgets(self) -> None:
        layers = {f"{layer.component}.{layer.name}" for layer in self.session.layers}
        for rule in self.session.rules:
            rule.check_layers(layers)

    def generate(
        self,
        prompt: Any = None,
        *,
        negative_prompt: str | None = None,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        seed: int | None = None,
        fps: float | None = None,
        image: Any = None,
        last_image: Any = None,
        video: Any = None,
        mask: Any = None,
        audio: Any = None,
        reference: Any = None,
        control: Any = None,
        strength: float | None = None,
        resize: Resize | None = None,
        on_event: OnEvent | None = None,
        **options: Any,
    ) -> "Video":
        """Make one video; the same for every family.

        Args:
            prompt: a text; with ``Timeline`` also ``"a | b"`` or a list of events. None for a pipeline that takes none.
            negative_prompt: what not to show; None is the pipeline's default.
            num_frames: pixel frames; None is the model's default.
            height, width: pixels; None is the model's default.
            num_inference_steps: solver steps; None is the model's default.
            guidance_scale: classifier-free guidance; None is the model's default.
            seed: of the noise, 0 to 2**64 - 1; drawn on the CPU, so a seed gives the same noise on every machine. None
                and -1 draw one.
            fps: pixel frames per second; None is the family's default. A given video of another rate is read at this
                one.
            image, last_image: first and last image: a path, a PIL image, or an array ``[H, W, 3]`` or ``[3, H, W]``
                with numbers of 8 or 16 bits or in [0, 1].
            video, mask, control: a path, a list of images, or an array with one more axis in front. A mask is white
                where something new is made, and may be one image.
            audio: a path of a sound.
            reference: one image or a list of them.
            strength: how much of a given video or image is changed, or how strictly it is followed, 0 to 1; None is
                the pipeline's default.
            resize: how images of another shape are brought to size: ``"crop"`` to the middle (None), ``"fit"`` by
                stretching, ``"pad"`` with black bars. The receipt names both sizes.
            on_event: called with ``Progress`` after every step and for each piece decoded; an exception that it raises
                stops the run within that step.
            options: further arguments of the pipeline's own ``__call__``. The recipe names tensors, images and
                functions; a step callback runs before ours.

        Raises:
            UsageError: an argument that this pipeline does not take, or a value that it cannot use.
            GenkitError: a plug-in took no part, a component was replaced after ``apply``, or the pipeline is busy.
            NotFiniteError: text, latents or frames became NaN or infinite; the message names the stage.
        """
        asked = {
            "negative_prompt": negative_prompt,
            "num_frames": num_frames,
            "height": height,
            "width": width,
            "num_inference_steps": num_inference_steps,
            "guidance_scale": guidance_scale,
            "image": image,
            "last_image": last_image,
            "video": video,
            "mask": mask,
            "audio": audio,
            "reference": reference,
            "control": control,
            "strength": strength,
            "resize": resize,
            **options,
        }
        with self._alone():
            made = sample(self.context, prompt, asked, seed=seed, fps=fps, on_event=on_event)
        self.last = made
        if made.receipt is not None:
            self.receipts.append(made.receipt)
        return made

    def generate_many(
        self,
        prompt: Any = None,
        *,
        num_videos_per_prompt: int = 1,
        seed: Any = None,
        generator: Any = None,
        **arguments: Any,
    ) -> "list[Video]":
        """Make several videos one after the other; each has the receipt and the recipe of a video made alone.

        They are not made in one batch: the memory of one is enough, and ``genkit rerun`` makes each again bit for bit.

        Args:
            prompt: as in ``generate``; or a list of texts, or of lists of events: a video of each.
            num_videos_per_prompt: videos of each prompt.
            seed: of the first video of each prompt, from which the others count up; None and -1 draw it. A list has the
                seed of each video.
            generator: a ``torch.Generator`` or a list of them instead of seeds, on the CPU and not drawn from yet.
            arguments: as in ``generate``.

        Returns:
            Videos of the first prompt, then of the second, and so on.

        Raises:
            UsageError: as ``generate``; or there are more or fewer seeds than videos.
        """
        takes = takes_of(prompt, seed, generator, num_videos_per_prompt)
        return [self.generate(one, seed=number, **arguments) for one, number in takes]

    def begin_call(self) -> None:
        """Note that a call of the pipeline has begun; ``generate`` makes the receipt of its own."""
        self._call = None if self._making.locked() else DirectCall.of(self.pipe)

    def end_call(self) -> None:
        """Add the receipt of a direct call of the pipeline, which has ended."""
        if self._call is not None:
            self.receipts.append(self._call.receipt(self.pipe, self.card, self.session, self.plugins))
            self._call = None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Make one video at a time, with everything in place from the beginning to the end."""
        if self.pipe.__dict__.get("_genkit_handle") is not self:
            raise GenkitError("these plug-ins were removed; call apply() again before generate()")
        if not self._making.acquire(blocking=False):
            raise GenkitError(BUSY)
        try:
            self.asked.claim()
            check_parts(self.session)
            yield
            self._check_end()
        finally:
            if self.context.turns:
                self.context.turns.drop()
            self._making.release()

    def _check_end(self) -> None:
        """Check that nothing was removed meanwhile, also if the pipeline's call did not end in the usual way."""
        if self.pipe.__dict__.get("_genkit_handle") is not self:
            raise GenkitError(CUT)
        if not self.session.run.ended:
            self.asked.end(self.session)

    def begin_run(self, fps: float) -> RunRecord:
        """Start a fresh record for one generation and return it."""
        return self.context.begin_run(fps)

    def remove(self) -> None:
        """Restore the pipeline exactly as it was before ``apply``; a second call does nothing.

        Raises:
            GenkitError: the pipeline is being called. In this thread, such as in a callback, the plug-ins are out and
                the error ends the call; they stay in for the call of another thread.
        """
        cut = self._is_called()
        if cut and not self.asked.is_here:
            raise GenkitError(BUSY)
        if self.pipe.__dict__.get("_genkit_handle") is self:
            del self.pipe.__dict__["_genkit_handle"]
        while self._installed:
            self._installed.pop().remove()
        self.session.remove()
        if cut:
            raise GenkitError(CUT)

    def _is_called(self) -> bool:
        """True while a direct call of the pipeline runs; ``generate`` checks its own end."""
        return self._call is not None and self.asked.is_called

    def report(self) -> str:
        """Return what is installed, and the receipt of the last video."""
        from genkit.plugins.catalogue import text_of

        names = ", ".join(text_of(plugin) for plugin in self.plugins) or "no plug-ins"
        head = f"{self.card.title} with {names}: {len(self.session.layers)} attention layers routed"
        return f"{head}\n{self.receipts[-1]}" if self.receipts else f"{head}; nothing generated yet"

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """Copy nothing within a copy of the pipeline, which has no plug-ins; refuse a copy of the handle alone."""
        if id(self.pipe) not in memo:
            raise GenkitError("installed plug-ins cannot be copied; copy the pipeline, and apply() them to the copy")

    def __reduce__(self) -> Any:
        return type(None), ()

    def __enter__(self) -> "Handle":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self.asked.is_here:
            self._call = None  # the call ended with it
        self.remove()


def generate(pipe: Any, prompt: Any = None, **arguments: Any) -> "Video":
    """Make one video without plug-ins; arguments as ``Handle.generate``."""
    with apply(pipe) as handle:
        return handle.generate(prompt, **arguments)


def generate_many(pipe: Any, prompt: Any = None, **arguments: Any) -> "list[Video]":
    """Make several videos without plug-ins; arguments as ``Handle.generate_many``."""
    with apply(pipe) as handle:
        return handle.generate_many(prompt, **arguments)
