"""The seam of turns: a plan says what one turn of the pipeline's own sampling loop means.

The pipeline gets a stand-in for its scheduler, a copy whose ``set_timesteps`` and ``step`` ask the plan, written past
``pipe.__setattr__``, which would rewrite the pipeline's configuration. The scheduler itself, which other pipelines may
share, is never touched.
"""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from genkit.attention.model.callers import nearest_pipeline
from genkit.attention.model.session import Session
from genkit.attention.private import MODEL_OUTPUTS, RANDN, SCHEDULER_OUTPUT, STEP_INDEX
from genkit.errors import GenkitError, UsageError
from genkit.generation.shadow import Shadow
from genkit.generation.turns.forward import TurnForwards, framed, timestep_passage, unframed
from genkit.generation.turns.levels import check_flow, levels_of, shift_for
from genkit.plugins.contract import TurnPlan, Turns
from genkit.schedulers.turns import Draw, Levels


@dataclass(frozen=True)
class Video:
    """The video asked of a run: its latent frames, and their axis in the latents."""

    frames: int
    first: int
    """Latent frames that the loop begins with."""
    axis: int
    tokens: int
    """Places of the latents along ``axis`` for each latent frame."""
    draw: Draw


class TurnSeam:
    """A plan of turns in one pipeline, until ``remove``."""

    def __init__(self, pipe: Any, session: Session, plan: TurnPlan) -> None:
        self.pipe, self.session, self.plan = pipe, session, plan
        self.turns: Turns | None = None
        self._levels: Levels | None = None
        self._video: Video | None = None
        self._bar: TurnBar | None = None
        self._shadows: list[Shadow] = []
        self.scheduler = self.solver = self.stand_in = self._fresh = pipe.scheduler
        self._next = -1

    def install(self) -> None:
        """Give the pipeline a stand-in for its scheduler, and its models several forwards in a turn.

        Raises:
            UsageError: the scheduler's noise levels are not those of flow matching.
        """
        self.scheduler = self.solver = self.pipe.scheduler
        check_flow(self.scheduler, self.plan.name)
        self._shadows += [
            Shadow(self.pipe, "prepare_latents", self._prepared),
            Shadow(self.pipe, "progress_bar", self._shown),
        ]
        self.stand_in = self.pipe.__dict__["scheduler"] = self._stand_in()
        for component in self.session.models:
            self.session.passages.append(timestep_passage(self.session, component, lambda: self.turns))

    def _stand_in(self) -> Any:
        """A copy of the scheduler that asks the plan; a copy or a pickle of it is one of the scheduler."""
        found = copy.deepcopy(self.scheduler)
        self._shadows.append(Shadow(found, "set_timesteps", self._scheduled, owner=self.pipe))
        self._shadows.append(Shadow(found, "step", self._stepped, owner=self.pipe))
        found.__dict__["__deepcopy__"] = self._copied
        found.__dict__["__reduce_ex__"] = self.scheduler.__reduce_ex__
        return found

    def _copied(self, memo: dict[int, Any]) -> Any:
        if self.turns is not None and nearest_pipeline() is self.pipe:
            raise GenkitError(
                f"{type(self.pipe).__name__} copies its scheduler while it makes a video, and turns cannot be counted "
                f"on a copy; leave {self.plan.name} out"
            )
        return copy.deepcopy(self.scheduler, memo)

    def remove(self) -> None:
        """Give the pipeline its scheduler back, unless it was given another one meanwhile."""
        self.drop()
        while self._shadows:
            self._shadows.pop().remove()
        if self.pipe.__dict__.get("scheduler") is self.stand_in:
            self.pipe.__dict__["scheduler"] = self.scheduler

    def drop(self) -> None:
        """Forget the run, as it is over or was given up."""
        self.turns = self._levels = self._video = self._bar = None
        self.solver = self._fresh = self.scheduler

    @property
    def forwards(self) -> TurnForwards:
        """The forward rule that goes with the plan."""
        return TurnForwards(self.plan, lambda: self.turns)

    def estimate(self, latents: Tensor) -> Tensor | None:
        """Return the frames that the run is heading for, shaped as latents; None where only the solver knows."""
        found = None if self.turns is None else self.turns.estimate()
        return None if found is None else unframed(found, self.session.card)

    def _prepared(self, original: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        """Begin with as many latent frames as the plan does."""
        self.turns = None
        if self.pipe.__dict__.get("scheduler") is not self.stand_in:
            raise GenkitError(
                f"pipe.scheduler was replaced after apply(), so {self.plan.name} is not in it; call remove() before "
                "replacing it, and apply() again after"
            )
        arguments, card = bound.arguments, self.session.card
        frames = card.token_frames(self.pipe, arguments["num_frames"])
        first = self.plan.first_frames(frames)
        if first != frames:
            if arguments.get("latents") is not None:
                raise UsageError(
                    f"{self.plan.name} draws the noise of each frame when its turn comes, and latents were given for "
                    "all; leave latents out"
                )
            arguments["num_frames"] = (first - 1) * card.stride(self.pipe) + 1
        latents = original(*bound.args, **bound.kwargs)
        self.session.run.came[self.plan.name, "turns"] += 1
        self._video = _video(latents, card.main.frame_axis, frames, first, arguments)
        self._begin()
        return latents

    def _scheduled(self, original: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        """Find the solver's own levels, and let the pipeline's loop turn as often as the plan needs."""
        self.turns = None
        video, mu = self._video, bound.arguments.get("mu")
        if video is not None and mu is not None:
            tokens = (video.frames * video.tokens, video.first * video.tokens)
            bound.arguments["mu"] = shift_for(self.scheduler, mu, *tokens)
        self.solver = copy.deepcopy(self.scheduler)
        self.solver.set_timesteps(*bound.args, **bound.kwargs)
        original(*bound.args, **bound.kwargs)
        self.stand_in.timesteps = self.solver.timesteps.clone()
        self.stand_in.frame_timesteps = self.solver.timesteps
        self._levels = levels_of(self.solver, self.plan.name)
        self._begin()

    def _begin(self) -> None:
        """Begin the run as soon as its levels and its video are known, whichever the pipeline asks for first."""
        levels, video = self._levels, self._video
        if levels is None or video is None:
            return
        self._levels = self._video = None
        self.turns = self.plan.begin(levels, video.frames, video.axis, video.draw)
        if self.turns is None:
            self.session.run.note(
                f"{self.plan.name}: {video.frames} latent frames fit into one window, so the video is made without it"
            )
            return
        self._fresh, self._next = copy.deepcopy(self.solver), -1
        # The pipeline may hold this tensor already, before it knows how long its video is: so it grows where it is.
        self.stand_in.timesteps.resize_(self.turns.total).copy_(self.turns.timesteps)
        self.stand_in.sigmas = self.turns.sigmas
        self.session.run.note(
            f"{self.plan.name}: {self.turns.total} turns of the sampling loop make {video.frames} latent frames, and "
            "what the receipt calls a step is a turn"
        )

    def _stepped(self, original: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        """One turn."""
        if self.turns is None:
            return original(*bound.args, **bound.kwargs)
        card, given = self.session.card, bound.arguments
        frames = self.turns.latent_frames
        prediction, latents = (framed(given[name], card, frames) for name in ("model_output", "sample"))
        found = unframed(self.turns.step(prediction, latents, self._solve), card)
        if self.turns.moved:  # what attention found out about a frame is not where that frame is now
            self.session.run.memory.found.clear()
        STEP_INDEX.write(self.stand_in, self.turns.turn)
        if self._bar is not None:
            self._bar.advance()
        return (found,) if given.get("return_dict") is False else _output(found)

    def _solve(self, prediction: Tensor, latents: Tensor, step: int) -> Tensor:
        """The stock solver's own step; one that does not follow the last begins without the solver's memory."""
        card = self.session.card
        if step != self._next:
            self.solver = copy.deepcopy(self._fresh)
            self.solver.set_begin_index(step)
        self._next = step + 1
        plain = [unframed(one, card) for one in (prediction, latents)]
        found: Tensor = self.solver.step(plain[0], self.solver.timesteps[step], plain[1], return_dict=False)[0]
        if MODEL_OUTPUTS.is_in(self.solver):
            MODEL_OUTPUTS.write(self.stand_in, MODEL_OUTPUTS.read(self.solver))  # previews read them
        return framed(found, card, latents.shape[card.main.frame_axis or 1])

    def _shown(self, original: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        """A progress bar that counts turns."""
        if self.turns is None or bound.arguments.get("total") is None:
            return original(*bound.args, **bound.kwargs)
        bound.arguments["total"] = self.turns.total
        self._bar = TurnBar(original(*bound.args, **bound.kwargs), self._check_end)
        return self._bar

    def _check_end(self) -> None:
        if self.turns is not None and self.turns.turn < self.turns.total:
            raise GenkitError(
                f"the sampling loop was interrupted after turn {self.turns.turn} of {self.turns.total}, and what "
                f"{self.plan.name} has by then is not a video; let it end, or raise an exception to cancel"
            )


class TurnBar:
    """A pipeline's progress bar that moves once a turn; the pipeline moves it after as many steps as it was asked."""

    def __init__(self, bar: Any, at_end: Callable[[], None]) -> None:
        self.bar, self.at_end = bar, at_end

    def advance(self) -> None:
        """Count one turn."""
        self.bar.update()

    def update(self, count: float = 1) -> None:
        """Do nothing: what the pipeline counts are not turns."""

    def __enter__(self) -> "TurnBar":
        self.bar.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        self.bar.__exit__(*error)
        if error[0] is None:
            self.at_end()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bar, name)


def _video(latents: Tensor, axis: int | None, frames: int, first: int, arguments: dict[str, Any]) -> Video:
    """What is asked, with the noise that the caller's generator goes on to draw."""
    axis = 1 if axis is None else axis
    tokens = latents.shape[axis] // first
    shape, kind = list(latents.shape), {"device": latents.device, "dtype": latents.dtype}
    generator = arguments.get("generator")

    def draw(count: int) -> Tensor:
        shape[axis] = count * tokens
        noise: Tensor = RANDN.load()(tuple(shape), generator=generator, **kind)
        return noise.unflatten(axis, (count, -1))

    return Video(frames, first, axis, tokens, draw)


def _output(latents: Tensor) -> Any:
    return SCHEDULER_OUTPUT.load()(prev_sample=latents)
