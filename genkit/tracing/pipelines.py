"""Read the facts of a pipeline from a recorded run of it."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

import torch
from torch import Tensor

from genkit.attention.facts.card import Branches, Prompts
from genkit.pipelines.pipeline_facts import PipelineFacts
from genkit.recording.recording import Recording
from genkit.recording.small import LENGTHS, is_seen, parameters_of
from genkit.tracing.latents import first_tensor, given_of, more_frames, noise_of, strides_of
from genkit.tracing.models import ModelTrace
from genkit.tracing.reading.experiments import has_content
from genkit.tracing.reading.findings import Found, Missing, quoted
from genkit.tracing.reading.kinds import is_text

USUAL = ("transformer", "transformer_2")
"""Components that rules enter if nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class PipelineTrace:
    """What was found of a pipeline."""

    found: tuple[Found, ...]
    """Fields that were found, and what the facts have no field for."""
    missing: tuple[Missing, ...]
    """Fields that were not found."""

    @property
    def facts(self) -> PipelineFacts:
        """The facts."""
        return PipelineFacts(**{one.field: one.value for one in self.found if one.field})


def trace_pipeline(recording: Recording, models: Sequence[ModelTrace]) -> PipelineTrace:
    """Return what a recorded run shows of its pipeline; ``models`` are those with attention over the video."""
    fields: list[Found | Missing | None] = [
        Found(
            field="name",
            value=short_name(recording),
            said="from the name of its class",
            code=quoted(short_name(recording)),
        ),
        _models(models),
        _needs(recording),
        _components(models),
        _branches(recording, models),
        _prompts(recording, models),
        *strides_of(recording, models[0]),
        more_frames(recording, models[0]),
        *noise_of(recording, models[0]),
        *given_of(recording, models[0]),
        Found(field="ascending_sigmas", value=True, said="sigmas rise to 1") if recording.ascending else None,
        _turns(recording),
        _published(recording),
    ]
    return PipelineTrace(
        found=tuple(one for one in fields if isinstance(one, Found)),
        missing=tuple(one for one in fields if isinstance(one, Missing)),
    )


def short_name(recording: Recording) -> str:
    """Return a name for the pipelines, from that of the class: ``my-model`` for ``MyModelPipeline``."""
    plain = re.sub(r"(Modular)?Pipeline$", "", recording.pipeline_name) or recording.pipeline_name
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", plain).lower()


def _tuple(names: Sequence[str]) -> str:
    return f"({', '.join(map(quoted, names))}{',' if len(names) == 1 else ''})"


def _models(models: Sequence[ModelTrace]) -> Found:
    names = tuple(dict.fromkeys(one.name for one in models))
    return Found(field="models", value=names, code=_tuple(names), said=", ".join(names))


def _needs(recording: Recording) -> Found | None:
    takes = parameters_of(recording.pipe)
    given = sorted(name for name in recording.arguments if name in takes and is_seen(name))
    if not given:
        return None
    code = f"frozenset({{{', '.join(map(quoted, given))}}})"
    return Found(field="needs", value=frozenset(given), code=code, said=f"it was run with {' and '.join(given)}")


def _components(models: Sequence[ModelTrace]) -> Found | None:
    names = tuple(one.component for one in models)
    said = ", ".join(names)
    return None if set(names) <= set(USUAL) else Found(field="components", value=names, code=_tuple(names), said=said)


def _branches(recording: Recording, models: Sequence[ModelTrace]) -> Found | Missing:
    """Return how guidance branches are distinguished in the first step."""
    traced = models[0].component
    first = [turn for turn in recording.turns if turn.step == 0 and turn.component == traced]
    names = list(dict.fromkeys(turn.context for turn in first))
    samples = _drawn(recording)
    halves = bool(samples) and first[0].batch in (2 * samples, 3 * samples)  # a third one is perturbed attention
    kind: Branches = "names"
    if len(first) == 1 and not halves and names == [None]:
        said = "how guidance runs: one forward in each step was seen; give the argument that switches guidance on"
        return Missing(field="branches", said=said)
    if halves:
        kind, said = "halves", f"one forward of {first[0].batch} samples in each step"
    elif len(first) > 1 and names == [None]:
        kind, said = "order", f"{len(first)} forwards in each step, without a name"
    else:
        named = ", ".join(str(name) for name in names if name is not None)
        said = f"{_count(len(first), 'forward')} in each step" + (f", named {named}" if named else "")
    return Found(field="branches", value=kind, code=quoted(kind), said=said)


def _drawn(recording: Recording) -> int:
    """Return the samples of the latents that the pipeline drew; 0 if that was not seen."""
    noise = first_tensor(recording.prepared)
    return 0 if noise is None else noise.shape[0]


def _prompts(recording: Recording, models: Sequence[ModelTrace]) -> Found | Missing | None:
    """Return what ``encode_prompt`` answers, if a model reads its text as it is."""
    layers = next(one.value for one in models[0].found if one.field == "layers")
    kind = _kind_of(recording.encoded[0]) if recording.encoded else None
    if kind is None or not _reads_plain_text(recording, models[0].component):
        said = "where in the answer of encode_prompt the text of the model stands"
        return Missing(field="prompts", said=said) if "cross" in layers else None
    return Found(field="prompts", value=kind, code=quoted(kind), said=f"encode_prompt answers {kind}")


def _kind_of(answer: Any) -> Prompts | None:
    if not isinstance(answer, tuple | list):
        return None
    axes = [one.ndim if isinstance(one, Tensor) else 0 for one in answer]
    known: dict[tuple[int, ...], Prompts] = {(3, 3): "pairs", (3, 2, 3, 2): "masked pairs"}
    return known.get(tuple(axes))


def _reads_plain_text(recording: Recording, component: str) -> bool:
    """Return True if the model got the text that was encoded, alone or with other branches in one batch."""
    arguments = recording.first[component].arguments
    texts = [
        value for name, value in arguments.items() if isinstance(value, Tensor) and value.ndim == 3 and is_text(name)
    ]
    encoded = [one for one in recording.encoded[0] if isinstance(one, Tensor) and one.ndim == 3]
    both = [*encoded, *([torch.cat(encoded[::-1])] if len({one.shape for one in encoded}) == 1 else [])]
    images = [name for name, value in arguments.items() if "image" in name and has_content(name, value)]
    return not images and any(_same(text, one) for text in texts for one in both)


def _same(text: Tensor, encoded: Tensor) -> bool:
    repeated = len(text) // max(1, len(encoded))
    whole = encoded.repeat_interleave(max(1, repeated), 0)
    return text.shape == whole.shape and bool(torch.equal(text, whole.to(text)))


def _turns(recording: Recording) -> Found:
    counts = Counter(turn.component for turn in recording.turns)
    forwards = ", ".join(f"{_count(count, 'forward')} of {name}" for name, count in counts.items())
    said = f"{forwards}; {_count(recording.steps, 'solver step')} by {_count(recording.solvers, 'solver')}"
    return Found(field="", said=said)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _published(recording: Recording) -> Missing:
    takes = parameters_of(recording.pipe)
    default = next((takes[name].default for name in LENGTHS if name in takes), Parameter.empty)
    frames = default if isinstance(default, int) else 81
    name, title = short_name(recording), recording.pipeline_name.removesuffix("Pipeline")
    code = f"(genkit.Published(family={quoted(name)}, title={quoted(title)}, native_frames={frames}, fps=16),)"
    said = "length and rate of the clips that it was trained on (these numbers are guesses), hub ids and licence"
    return Missing(field="published", said=said, code=code)
