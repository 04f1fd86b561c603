"""The seam of forwards: what one call of the denoiser is, such as several over windows of frames."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from genkit.attention.calls.call import Step
from genkit.attention.geometry.windows import Window
from genkit.attention.model.forward import arguments_of
from genkit.attention.model.frames import cut, frames_of, latents_of, prediction_of, with_prediction
from genkit.attention.model.hooks import Passage
from genkit.attention.model.session import Session
from genkit.plugins.contract import Denoise, ForwardRule


class ForwardSeam:
    """Forward rules around the models of one pipeline; another pipeline that shares a model computes as without us."""

    def __init__(self, session: Session, rules: Sequence[ForwardRule]) -> None:
        self.session = session
        self.rules = sorted(rules, key=lambda rule: rule.name)
        session.wrapped = True
        session.max_frames = min((rule.max_frames for rule in rules if rule.max_frames), default=None)
        for component in session.models:
            called = getattr(session.pipe, component)  # a compiled model's wrapper, so that each window runs compiled
            session.passages.append(Passage(called, partial(self._forward, component, called)))

    def remove(self) -> None:
        """Let the session begin and end forwards itself; it takes the passages out."""
        self.session.wrapped, self.session.max_frames = False, None

    def _forward(self, component: str, called: nn.Module, forward: Any, *args: Any, **kwargs: Any) -> Any:
        """One call of the model by the pipeline; its windows call it again, with all hooks that are on it."""
        session, model = self.session, self.session.models[component]
        if session.foreign or session.trying or session.inside:
            return forward(*args, **kwargs)
        arguments = arguments_of(model, args, kwargs)
        frames, latents = frames_of(session.facts_of(model), model, arguments), latents_of(arguments)
        whole = Window(0, frames.volume[0], frames.volume[0])
        outputs: list[Any] = []

        def denoise(part: Tensor, step: Step, window: Window) -> Tensor:
            given = arguments
            if part is not begun or not window.is_whole:
                given = cut(arguments, frames.join(part).contiguous(), frames, window)
            with session.forward_in(component, model, given, step, window):
                outputs[:] = [called(**given)]
            return frames.split(prediction_of(outputs[0]))

        begun = frames.split(latents)
        prediction = self._wrapped(denoise, whole.frames)(begun, session.step_of(model, arguments), whole)
        return with_prediction(outputs[0], frames.join(prediction))

    def _wrapped(self, denoise: Denoise, frames: int) -> Denoise:
        """``denoise`` in every rule, each of which is counted."""
        for rule in self.rules:
            if note := rule.note(frames):
                self.session.run.note(note)
            denoise = self._counted(rule, rule.wrap(denoise))
        return denoise

    def _counted(self, rule: ForwardRule, denoise: Denoise) -> Denoise:
        def counted(latents: Tensor, step: Step, window: Window) -> Tensor:
            self.session.run.came[rule.name, "forward"] += 1
            return denoise(latents, step, window)

        return counted
