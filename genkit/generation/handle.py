"""``apply``: plug-ins go into a pipeline, and come out again leaving it as it was."""

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from genkit.attention.calls.run import RunRecord
from genkit.attention.facts.cards import card_of
from genkit.attention.model.session import Session
from genkit.errors import GenkitError, UsageError
from genkit.generation.asked import BUSY, Asked, Counted, check_parts
from genkit.generation.context import Context
from genkit.generation.decode_seam import decode_seam
from genkit.generation.events import OnEvent
from genkit.generation.models.forward import ForwardSeam
from genkit.generation.models.positions import PositionSeam
from genkit.generation.sampling import sample
from genkit.generation.seams import Shadow, begin_seam, end_seam, text_seam
from genkit.generation.turns.seam import TurnSeam
from genkit.plugins.caches.step_cache import StepCache
from genkit.plugins.conflicts import check_together
from genkit.plugins.contract import ForwardRule, NoisePlan, Parts, Plugin, Target, TextPlan

if TYPE_CHECKING:
    from genkit.video.video import Video


def apply(pipe: Any, *plugins: Plugin) -> "Handle":
    """Put plug-ins into a pipeline, from ``genkit.load`` or built by the user.

    Use the result as a context manager, or call ``remove()``. Without plug-ins the pipeline computes what it always
    did, bit for bit.

    Raises:
        UsageError: a plug-in cannot work with this model or with another plug-in, or plug-ins are in already.
    """
    return Handle(pipe, plugins)


class Handle:
    """Plug-ins that are in a pipeline."""

    last: "Video | None" = None
    """The video made last."""

    def __init__(self, pipe: Any, plugins: Sequence[Plugin]) -> None:
        self._making = threading.Lock()
        self._refuse_second(pipe)
        check_together(plugins)
        try:
            self.card = card_of(pipe)
        except LookupError as error:
            raise UsageError(str(error)) from None
        self.pipe, self.plugins = pipe, tuple(plugins)
        parts = [plugin.parts(self.target()) for plugin in plugins]
        names = [plugin.name for plugin in plugins]
        self.text: TextPlan | None = next((part.text for part in parts if part.text), None)
        rules: list[Any] = [Counted(rule, name) for name, part in zip(names, parts, strict=True) for rule in part.rules]
        self.session = Session(pipe, self.card, rules)
        plans = (part.positions for part in parts if part.positions)
        self.positions = next((PositionSeam(pipe, self.session, plan) for plan in plans), None)
        self.turns = next((TurnSeam(pipe, self.session, part.turns) for part in parts if part.turns), None)
        decoding = tuple(part.decode for part in parts if part.decode)
        self.context = Context(
            pipe=pipe,
            card=self.card,
            session=self.session,
            plugins=self.plugins,
            text=self.text,
            positions=self.positions,
            turns=self.turns,
            decoding=decoding,
        )
        self.asked = Asked(pipe, self, list(zip(names, parts, strict=True)))
        self._shadows: list[Shadow | StepCache | PositionSeam | TurnSeam | ForwardSeam] = []
        self._install(parts)

    def _refuse_second(self, pipe: Any) -> None:
        other: Handle | None = getattr(pipe, "_genkit_handle", None)
        if other is not None and other.asked.busy:
            raise GenkitError(BUSY)
        if other is not None:
            raise UsageError("this pipeline has plug-ins in it already; remove() them, or give all to one apply()")

    def target(self) -> Target:
        """The pipeline in numbers, as plug-ins see it."""
        longest = self.card.longest(self.pipe)
        return Target(
            family=self.card.family,
            title=self.card.title,
            native_frames=self.card.token_frames(self.pipe, self.card.native_frames),
            kinds=frozenset(self.card.layers),
            longest=longest and self.card.token_frames(self.pipe, longest),
            one_level=self.card.one_level,
        )

    def _install(self, parts: list[Parts]) -> None:
        noise: NoisePlan | None = next((part.noise for part in parts if part.noise), None)
        cache = next((StepCache(self.session, part.cache) for part in parts if part.cache), None)
        if self.pipe.__dict__.setdefault("_genkit_handle", self) is not self:  # two threads came at the same time
            self._refuse_second(self.pipe)
            self.pipe.__dict__["_genkit_handle"] = self
        try:
            self._check_budgets()
            self.session.install()
            if self.positions:
                self._shadows.append(self.positions)
                self.positions.install()
            if cache:
                self._shadows.append(cache)
                cache.install()
            forward: list[ForwardRule] = [part.forward for part in parts if part.forward]
            if self.turns:
                forward.append(self.turns.forwards)
            if forward:
                self._shadows.append(ForwardSeam(self.session, forward))
            self._shadows.append(begin_seam(self.pipe, self.session, self.asked, noise, cache))
            self._shadows.append(end_seam(self.pipe, self.session, self.asked))
            if self.turns:
                self._shadows.append(self.turns)
                self.turns.install()
            if self.context.decoding:
                self._shadows.append(decode_seam(self.pipe, self.session, self.context.decoding))
            if self.text:
                self._shadows.append(text_seam(self.pipe, self.session, self.text))
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
        prompt: Any,
        *,
        negative_prompt: str | None = None,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        seed: int | None = None,
        fps: float | None = None,
        on_event: OnEvent | None = None,
        **options: Any,
    ) -> "Video":
        """Make one video; the same for every family.

        Args:
            prompt: a text; with ``Timeline`` also ``"a | b"`` or a list of events.
            negative_prompt: what not to show; None is the pipeline's default.
            num_frames: pixel frames; None is the model's default.
            height, width: pixels; None is the model's default.
            num_inference_steps: solver steps; None is the model's default.
            guidance_scale: classifier-free guidance; None is the model's default.
            seed: of the noise, 0 to 2**64 - 1, drawn on the CPU so that it means the same video everywhere; None or -1
                draws one.
            fps: pixel frames a second; None is the family's own.
            on_event: called with ``Progress`` after every step and for each piece decoded; whatever it raises stops
                the run within that step.
            options: any further argument of the pipeline's own ``__call__``; tensors, images and functions are named in
                the recipe, and the caller's callback is called before ours.

        Raises:
            UsageError: an argument that this pipeline does not take, or a value that it cannot make.
            GenkitError: a plug-in was passed by, a part of the pipeline was replaced after ``apply``, or the pipeline
                is making a video already.
            NotFiniteError: the text, the latents or the frames became NaN or infinite; the stage is named.
        """
        if self.pipe.__dict__.get("_genkit_handle") is not self:
            raise GenkitError("these plug-ins were removed; call apply() again before generate()")
        asked = {
            "negative_prompt": negative_prompt,
            "num_frames": num_frames,
            "height": height,
            "width": width,
            "num_inference_steps": num_inference_steps,
            "guidance_scale": guidance_scale,
            **options,
        }
        if not self._making.acquire(blocking=False):
            raise GenkitError(BUSY)
        try:
            self.asked.claim()
            check_parts(self.session)
            video = sample(self.context, prompt, asked, seed=seed, fps=fps, on_event=on_event)
            self._check_end()
        finally:
            if self.turns:
                self.turns.drop()
            self._making.release()
        self.last = video
        return video

    def _check_end(self) -> None:
        """Nothing may have gone missing, also where the pipeline's call did not end in the usual way."""
        if self.pipe.__dict__.get("_genkit_handle") is not self:
            raise GenkitError("the plug-ins were removed while the video was made, so it is none; make it again")
        if not self.session.run.ended:
            self.asked.end(self.session)

    def begin_run(self, fps: float) -> RunRecord:
        """Start a fresh record for one generation and return it."""
        return self.context.begin_run(fps)

    def remove(self) -> None:
        """Leave the pipeline exactly as it was before ``apply``; a second call does nothing."""
        if self.pipe.__dict__.get("_genkit_handle") is self:
            del self.pipe.__dict__["_genkit_handle"]
        while self._shadows:
            self._shadows.pop().remove()
        self.session.remove()

    def report(self) -> str:
        """What is installed, and the receipt of the last video."""
        from genkit.plugins.catalogue import text_of

        names = ", ".join(text_of(plugin) for plugin in self.plugins) or "no plug-ins"
        head = f"{self.card.title} with {names}: {len(self.session.layers)} attention layers routed"
        return f"{head}\n{self.last.receipt}" if self.last else f"{head}; nothing generated yet"

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """A copy of the pipeline has no plug-ins in it, and there is none of plug-ins alone."""
        if id(self.pipe) not in memo:
            raise GenkitError(
                "plug-ins in a pipeline cannot be copied; copy the pipeline, and apply() them to the copy"
            )

    def __reduce__(self) -> Any:
        return type(None), ()

    def __enter__(self) -> "Handle":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def generate(pipe: Any, prompt: Any, **arguments: Any) -> "Video":
    """Make one video without plug-ins; arguments as ``Handle.generate``."""
    with apply(pipe) as handle:
        return handle.generate(prompt, **arguments)
