"""`genkit trace`: find out the facts of a model, print what was found, and write them as a Python file."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import genkit
from genkit.apps.commands.flags import call_arguments
from genkit.record.visible import visible, visible_lines
from genkit.tracing.opening import open_unknown
from genkit.tracing.trace import check_new


def trace(model: str, settings: Iterable[str], output: Path | None, *, device: str | None, offload: str | None) -> int:
    """Trace one model and print the report.

    Args:
        model: hub id, or folder with a diffusers pipeline.
        settings: arguments of the pipeline's call, ``KEY=VALUE``.
        output: new Python file for the facts; None writes none.
        device, offload: as for ``genkit.load``.

    Returns:
        The exit code: 1 if the model has no attention in which a plug-in could act.

    Raises:
        UsageError: an argument cannot be used, or the pipeline could not be run small; raised before any work where
            possible.
        GenkitError: the model could not be opened.
    """
    arguments = call_arguments(settings)
    if output is not None:
        check_new(output)
    pipe = open_unknown(model, device, offload)
    found = genkit.trace(pipe, **arguments)
    print(visible_lines(found.report()))
    if found.pipeline is None:
        return 1
    print(f"\n{_conformance(found, pipe, arguments)}")
    if output is not None:
        print(visible(str(found.write(output))))
    return 0


def _conformance(found: genkit.Trace, pipe: Any, arguments: dict[str, Any]) -> Any:
    """Return the check of the whole pipeline with what was found, in this process alone."""
    if found.known:
        return "facts of such a model or pipeline are known already; `genkit doctor --model` checks those"
    found.register()
    return genkit.check(pipe, **arguments)
