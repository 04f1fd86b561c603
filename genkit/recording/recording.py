"""Record one short run of a pipeline: its models' first forwards, branches, solver steps and what it prepares."""

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from inspect import BoundArguments, signature
from typing import Any

import torch
from torch import Tensor, nn

from genkit.attention.facts.volume import Arguments, plain_model
from genkit.attention.model.forward import arguments_of
from genkit.attention.replays.replay import Context, FirstForward, copied
from genkit.generation.shadow import Shadow


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One forward of a denoising model in the run."""

    component: str
    """Name of the model in the pipeline."""
    step: int
    """Solver steps before it."""
    context: str | None
    """Name of the model's ``cache_context``; None: it ran in none."""
    batch: int
    """Samples in its latents."""


@dataclass(kw_only=True)
class Recording:
    """What happened in one short run of a pipeline."""

    pipe: Any
    arguments: Arguments
    """Arguments of the call."""
    drawn_from: Tensor | None = None
    """State of the caller's generator before the run; None: there was none, or several."""
    first: dict[str, FirstForward] = field(default_factory=dict)
    """The first forward of each denoising model, by component."""
    turns: list[Turn] = field(default_factory=list)
    """All forwards of denoising models, in order."""
    steps: int = 0
    """Calls of a solver's ``step``, those of its copies included."""
    solvers: int = 0
    """Solvers that made a step."""
    ascending: bool = False
    """True if the solver's sigmas rise as the noise decreases."""
    prepared: list[Any] = field(default_factory=list)
    """Answers of ``prepare_latents``."""
    encoded: list[Any] = field(default_factory=list)
    """Answers of ``encode_prompt``."""

    @property
    def pipeline_name(self) -> str:
        """Class of the pipeline."""
        return type(self.pipe).__name__


def record(pipe: Any, **arguments: Any) -> Recording:
    """Run a pipeline once and return what happened; nothing of ours stays in it, also after an error.

    Args:
        pipe: a pipeline without plug-ins.
        arguments: of its call, as small as it can be, with one or two steps.

    Raises:
        Exception: whatever the pipeline raises.
    """
    generator = arguments.get("generator")
    state = generator.get_state() if isinstance(generator, torch.Generator) else None
    recording = Recording(pipe=pipe, arguments=arguments, drawn_from=state)
    with ExitStack() as stack:
        stack.enter_context(random_state_kept())
        stack.enter_context(_solvers(pipe, recording))
        for component, model in denoisers(pipe).items():
            stack.enter_context(_followed(component, model, recording))
        for method, answers in (("prepare_latents", recording.prepared), ("encode_prompt", recording.encoded)):
            if hasattr(pipe, method):
                stack.callback(Shadow(pipe, method, _keeper(answers)).remove)
        if hasattr(pipe, "progress_bar"):
            stack.callback(Shadow(pipe, "progress_bar", _silent).remove)
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            pipe(**arguments)
    return recording


def denoisers(pipe: Any) -> dict[str, nn.Module]:
    """Return the models of a pipeline that may denoise, by component: those whose forward takes a timestep."""
    parts = {name: plain_model(part) for name, part in vars(pipe).items() if not name.startswith("_")}
    return {name: part for name, part in parts.items() if isinstance(part, nn.Module) and takes_timestep(part)}


def takes_timestep(model: nn.Module) -> bool:
    """Return True if an argument of a model's forward is called a timestep."""
    return any("timestep" in name for name in signature(type(model).forward).parameters)


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore the random numbers of torch and of Python after the block."""
    state = random.getstate()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(state)


def _keeper(answers: list[Any]) -> Callable[[Callable[..., Any], BoundArguments], Any]:
    def kept(original: Callable[..., Any], bound: BoundArguments) -> Any:
        out = original(*bound.args, **bound.kwargs)
        answers.append(copied(out))
        return out

    return kept


def _silent(original: Callable[..., Any], bound: BoundArguments) -> Any:
    from tqdm import tqdm

    return tqdm(bound.arguments.get("iterable"), total=bound.arguments.get("total"), disable=True)


@contextmanager
def _followed(component: str, model: nn.Module, recording: Recording) -> Iterator[None]:
    """Record the forwards of one model and the contexts that they run in."""
    contexts: list[Context] = []

    def begin(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = arguments_of(module, args, kwargs)
        context = contexts[-1] if contexts else None
        name = None if context is None else context[0]
        batch = _batch(given)
        recording.turns.append(Turn(component=component, step=recording.steps, context=name, batch=batch))
        if component not in recording.first:
            recording.first[component] = FirstForward(
                component=component, model=module, arguments=copied(given), context=context
            )

    @contextmanager
    def within(inner: Callable[..., Any], bound: BoundArguments) -> Iterator[None]:
        name, *_ = bound.args
        contexts.append((name, dict(bound.kwargs)))
        try:
            with inner(*bound.args, **bound.kwargs):
                yield
        finally:
            contexts.pop()

    with ExitStack() as stack:
        stack.callback(model.register_forward_pre_hook(begin, with_kwargs=True).remove)
        if hasattr(model, "cache_context"):
            stack.callback(Shadow(model, "cache_context", within, owner=recording.pipe).remove)
        yield


def _batch(arguments: Mapping[str, Any]) -> int:
    """Return the number of samples: the first axis of the first tensor, or 1 for a list of samples."""
    first = next((value for value in arguments.values() if isinstance(value, Tensor) and value.ndim > 1), None)
    return 1 if first is None else first.shape[0]


@contextmanager
def _solvers(pipe: Any, recording: Recording) -> Iterator[None]:
    """Put copies that count their steps in the place of the solvers of a pipeline, which stay as they are."""
    own = {name: part for name, part in vars(pipe).items() if _is_solver(part)}
    counted: set[int] = set()

    def watched(solver: Any, memo: dict[int, Any] | None = None) -> Any:
        found = object.__new__(type(solver))
        state = {name: value for name, value in vars(solver).items() if name not in ("step", "__deepcopy__")}
        found.__dict__.update(copy.deepcopy(state, memo))
        Shadow(found, "step", count, owner=pipe)
        found.__dict__["__deepcopy__"] = lambda memo: watched(found, memo)
        return found

    def count(original: Callable[..., Any], bound: BoundArguments) -> Any:
        recording.steps += 1
        counted.add(id(getattr(original, "__self__", None)))
        recording.solvers = len(counted)
        sigmas = getattr(getattr(original, "__self__", None), "sigmas", None)
        if isinstance(sigmas, Tensor) and len(sigmas) > 1:
            recording.ascending = bool(sigmas[-1] > sigmas[0])
        return original(*bound.args, **bound.kwargs)

    try:
        for name, solver in own.items():
            pipe.__dict__[name] = watched(solver)
        yield
    finally:
        pipe.__dict__.update(own)


def _is_solver(part: Any) -> bool:
    return callable(getattr(part, "step", None)) and callable(getattr(part, "set_timesteps", None))
