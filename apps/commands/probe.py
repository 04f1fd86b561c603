"""`genkit probe`: measure a sparse plug-in on a model, write the budget and the picture, print a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import genkit
from genkit.apps.commands.compare_plan import read_prompts
from genkit.apps.commands.places import place_for, put
from genkit.apps.terminal.progress import progress_bar
from genkit.apps.terminal.warning import warning
from genkit.benchmarks.drawing.canvas import SUFFIXES
from genkit.benchmarks.drawing.probe_picture import picture
from genkit.errors import UsageError
from genkit.making import check_request
from genkit.plugins.budget import Budget
from genkit.plugins.catalogue import parse
from genkit.probing.level_choice import Outcome, mean_density
from genkit.probing.probe import Probe, check_target
from genkit.record.visible import visible, visible_lines
from genkit.request import Request
from genkit.video.ours import is_budget, is_picture

RECALL = 0.95
"""Target if neither a recall nor a density is given."""


def probe(
    request: Request,
    out: Path,
    drawing: Path | None,
    *,
    recall: float | None,
    density: float | None,
    prompts: Path | None,
    as_json: bool,
) -> int:
    """Run one probe, write its files and print the level chosen for each layer.

    Args:
        request: the plug-ins and what to generate with them.
        out: the budget file, ending in ``.json``; an existing one is replaced if genkit made it.
        drawing: the picture, SVG or PNG; None draws none.
        recall, density: the target, one of the two; with neither, a recall of 0.95.
        prompts: file of additional prompts, one per line; None for no more.
        as_json: print the budget instead of the table.

    Raises:
        UsageError: an argument cannot be used; raised before any work is done where possible.
        GenkitError: the model could not be opened, or the run failed.
    """
    if recall is None and density is None:
        recall = RECALL
    check_target(recall, density)
    if not isinstance(request.prompt, str):
        raise UsageError("a probe takes prompts that are text; with timeline write events as 'a | b'")
    place = place_for(out, (".json",), "budget", is_budget)
    beside = None if drawing is None else place_for(drawing, SUFFIXES, "picture", is_picture)
    texts = [request.prompt, *read_prompts(prompts)]
    for text in texts:
        check_request(request.model_copy(update={"prompt": text}))
    found = _measure(request, texts)
    chosen = found.chosen(recall=recall, density=density)
    budget = found.budget(recall=recall, density=density)
    print(budget.to_json() if as_json else visible_lines(table(found, chosen, budget)), end="" if as_json else "\n")
    written = [put(place, budget.save, "budget")]
    if beside is not None:
        drawn = picture(found, chosen)
        written.append(put(beside, lambda part: drawn.write(part, beside.path.suffix), "picture"))
    if not as_json:
        print("\n".join(map(visible, written)))
    return 0


def _measure(request: Request, prompts: Sequence[str]) -> Probe:
    """Open the model and probe it with the settings of the request."""
    plugins = [parse(text) for text in request.plugins]
    pipe = genkit.load(**request.opening())
    with progress_bar() as draw:
        return genkit.probe(pipe, *plugins, prompt=prompts, on_event=warning(draw), **request.arguments())


def table(found: Probe, chosen: Mapping[str, Outcome], budget: Budget) -> str:
    """Format the level of each layer and what it keeps, then the overall values, then what could not be reached."""
    rows = [("layer", "level", "density", "min recall", "max error")]
    for layer, outcome in chosen.items():
        rows.append((layer, setting(found.levels[outcome.level]), *_numbers(outcome)))
    worst = Outcome(
        level=0,
        density=mean_density(chosen.values()),
        recall=min(outcome.recall for outcome in chosen.values()),
        error=max(outcome.error for outcome in chosen.values()),
    )
    rows.append(("all", "", *_numbers(worst)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, *(f"! {note}" for note in budget.measured["notes"])])


def setting(level: Mapping[str, Any]) -> str:
    """Format a level the way users write parameters: ``tau=1.0``."""
    return ", ".join(f"{name}={value}" for name, value in level.items())


def _numbers(outcome: Outcome) -> tuple[str, str, str]:
    return f"{outcome.density:.3f}", f"{outcome.recall:.3f}", f"{outcome.error:.3f}"
