"""``trace``: find out the facts of a pipeline that nothing is known of."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genkit.attention.conformance.finding import Finding
from genkit.attention.conformance.model import check_model
from genkit.attention.facts.known import facts_of_name
from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.replays.replay import FirstForward
from genkit.conformance.report import line_of
from genkit.errors import UsageError
from genkit.inputs.reading import read
from genkit.pipelines.known import pipelines, register
from genkit.pipelines.pipeline_facts import PipelineFacts
from genkit.recording.small import call_text, is_seen, record_small
from genkit.tracing.models import ModelTrace, trace_model
from genkit.tracing.pipelines import PipelineTrace, trace_pipeline
from genkit.tracing.reading.findings import Found, Missing
from genkit.tracing.source import GIVEN, source_of


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What a trace has found of a pipeline and its models."""

    pipeline_class: str
    """Class of the pipeline."""
    call: str
    """Arguments of the short run, as one would write them."""
    models: tuple[ModelTrace, ...]
    """What was found of each denoising model."""
    findings: tuple[Finding, ...]
    """Results of the check of the models' facts, as ``genkit.check`` has them."""
    known: bool
    """True if other facts are known under one of the names, so that the file replaces them."""
    pipeline: PipelineTrace | None
    """What was found of the pipeline; None: no model has attention over the video that a rule could act in."""

    @property
    def facts(self) -> tuple[ModelFacts | PipelineFacts, ...]:
        """Facts to register: of each model, and of the pipeline; empty if there are none."""
        models = [facts for one in self.models if (facts := one.facts) is not None]
        return (*models, self.pipeline.facts) if self.pipeline is not None else ()

    def register(self, *, replace: bool = False) -> None:
        """Make the pipeline known to this process, with what was found; what was not has its default.

        Raises:
            UsageError: too little was found, or facts of the same names are known and ``replace`` is False.
        """
        self._check()
        for facts in self.facts:
            register(facts, replace=replace)

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the facts as a Python file that registers them, and return its path.

        What was found is marked ``# traced``, what was not ``# please fill in``.

        Raises:
            UsageError: too little was found, the name does not end in ``.py``, or the file is there already.
        """
        self._check()
        path = check_new(path)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(self.source())
        except OSError as error:
            raise UsageError(f"cannot write {str(path)!r}: {error.strerror}; choose another place") from error
        return path

    def source(self) -> str:
        """Return the Python file that ``write`` writes."""
        assert self.pipeline is not None
        models = [(one.found, one.missing) for one in self.models if one.facts is not None]
        title = f"Facts of {self.pipeline_class}, as genkit traced them; a run of this file registers them."
        return source_of(title, models, (self.pipeline.found, self.pipeline.missing), self.known)

    def report(self) -> str:
        """Return in plain words what was found and what was not."""
        lines = [f"{self.pipeline_class}, run as pipe({self.call})"]
        for model in self.models:
            lines += ["", f"{model.component}: {model.name}", *_said(model.found, model.missing)]
            if not model.deterministic:
                lines.append("  the same forward twice gave two outputs, so what was found is less certain")
        if self.pipeline is not None:
            lines += ["", "pipeline", *_said(self.pipeline.found, self.pipeline.missing)]
        if self.findings:
            lines += ["", "check of what was found", *(f"  {line_of(finding)}" for finding in self.findings)]
        return "\n".join([*lines, "", _end(self)])

    __str__ = report

    def _check(self) -> None:
        if self.pipeline is None:
            raise UsageError(f"{self.pipeline_class}: {_reason(self.models)}")


def check_new(path: str | os.PathLike[str]) -> Path:
    """Return the path of a Python file that is to be written and is not there yet.

    Raises:
        UsageError: its name does not end in ``.py``, or there is such a file.
    """
    path = Path(path)
    if path.suffix != ".py":
        raise UsageError(f"cannot write {str(path)!r}: the name of a Python file must end in .py")
    if path.exists():
        raise UsageError(f"{str(path)!r} is there already, perhaps with what you filled in; choose another name")
    return path


def trace(pipe: Any, **small: Any) -> Trace:
    """Find out what plug-ins have to know of a pipeline, by one short run of it and single forwards of its models.

    The pipeline is left as it was. What is found may be looked at with ``report``, made known with ``register`` and
    written as a Python file with ``write``.

    Args:
        pipe: a pipeline without plug-ins; nothing needs to be known of it.
        small: arguments of its call, where the smallest that are tried do not fit: ``num_frames=9, image=...``. Images
            and videos may be paths.

    Raises:
        UsageError: it has plug-ins or no denoising model, or could not be run small; the message has the call.
    """
    recording = record_small(pipe, **{name: _opened(name, value) for name, value in small.items()})
    if not recording.first:
        raise UsageError(
            f"{type(pipe).__name__} ran no model that takes a timestep in pipe({call_text(recording.arguments)}), so "
            "there is nothing to trace"
        )
    try:
        models = tuple(map(trace_model, recording.first.values()))
        useful = _in_order([one for one in models if one.facts is not None], recording.first)
        pipeline = trace_pipeline(recording, useful) if useful else None
        findings = tuple(finding for one in useful for finding in _checked(recording.first[one.component], one))
    finally:
        if hasattr(pipe, "maybe_free_model_hooks"):
            pipe.maybe_free_model_hooks()
    return Trace(
        pipeline_class=type(pipe).__name__,
        call=call_text(recording.arguments),
        models=models,
        findings=findings,
        known=pipeline is not None and _is_known(useful, pipeline.facts),
        pipeline=pipeline,
    )


def _is_known(models: list[ModelTrace], facts: PipelineFacts) -> bool:
    """Whether something is known under the class of a model or the name of the pipelines."""
    return facts.name in {one.name for one in pipelines()} or any(facts_of_name(one.name) for one in models)


def _checked(first: FirstForward, model: ModelTrace) -> list[Finding]:
    """Return what the conformance check says of the facts of one model."""
    return [] if model.facts is None else check_model(first, model.facts)


def _opened(name: str, value: Any) -> Any:
    """Return the image or the video in a file; anything else as it is."""
    if not is_seen(name) or not isinstance(value, str | os.PathLike):
        return value
    frames = read(name, Path(value), lambda note: None).frames
    return frames if "video" in name else frames[0]


def _in_order(models: list[ModelTrace], first: Mapping[str, Any]) -> list[ModelTrace]:
    """Return the models with the one that makes the video in front: any but a control net."""
    return sorted(models, key=lambda one: ("control" in one.component, list(first).index(one.component)))


def _said(found: tuple[Found, ...], missing: tuple[Missing, ...]) -> list[str]:
    known = [
        f"  {'found  ' if one.whole else 'fill in'}  {one.field + ': ' if one.field else ''}{one.said}"
        for one in found
        if one.field not in GIVEN
    ]
    left = [f"  missing  {one.field}: {one.said}" for one in missing]
    return [*known, *left]


def _reason(models: tuple[ModelTrace, ...]) -> str:
    said = "; ".join(f"{one.component}: {left.said}" for one in models for left in one.missing)
    return f"no facts can be made of it, because the video was not found in its attention ({said})"


def _end(found: Trace) -> str:
    if found.pipeline is None:
        return _reason(found.models)
    return (
        "register() makes this known here, write('my_family.py') writes it, to fill in what is missing; then "
        "genkit.check(pipe) also runs the pipeline with plug-ins"
    )
