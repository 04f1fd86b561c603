"""Measurements of a probe at the chosen levels, as heat maps by layer and step, and by layer and head."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from genkit.attention.planning.probe import Sample
from genkit.benchmarks.drawing.canvas import Drawing
from genkit.benchmarks.drawing.heat_map import AMOUNT, GAIN, LOSS, Panel, heat_maps
from genkit.probing.level_choice import Outcome
from genkit.probing.probe import Probe, whole

Values = Sequence[Sequence[float | None]]


def picture(probe: Probe, chosen: Mapping[str, Outcome]) -> Drawing:
    """Draw density, recall and error by layer (rows) and step (columns), and recall by layer and head.

    Args:
        probe: the measurements.
        chosen: the level of each layer, from ``probe.chosen``.
    """
    samples = [probe.at(layer, outcome.level) for layer, outcome in chosen.items()]
    steps = [str(step + 1) for step in range(probe.steps)]
    heads = [str(head) for head in range(max(len(part[0].recall) for part in samples))]
    recall = _by_step(samples, probe.steps, lambda sample: min(sample.recall), min)
    error = _by_step(samples, probe.steps, lambda sample: max(sample.error), max)
    by_head = [_by_head(part, len(heads)) for part in samples]
    low = min(0.95, math.floor(min(_numbers([*recall, *by_head]), default=0.95) * 20) / 20)
    panels = [
        Panel(
            title="Density",
            caption="mean",
            axis="step",
            columns=steps,
            values=_by_step(samples, probe.steps, lambda sample: sample.density, _mean),
            low=0,
            high=1,
            colours=AMOUNT,
        ),
        Panel(
            title="Recall",
            caption="minimum over heads",
            axis="step",
            columns=steps,
            values=recall,
            low=low,
            high=1,
            colours=GAIN,
        ),
        Panel(
            title="Error",
            caption="maximum over heads",
            axis="step",
            columns=steps,
            values=error,
            low=0,
            high=max(0.05, math.ceil(max(_numbers(error), default=0.05) * 20) / 20),
            colours=LOSS,
        ),
        Panel(
            title="Recall by head",
            caption="minimum over steps",
            axis="head",
            columns=heads,
            values=by_head,
            low=low,
            high=1,
            colours=GAIN,
        ),
    ]
    rows = short_names(list(chosen))
    return heat_maps(
        _title(probe), _about(probe, chosen), "layer", rows, panels, "runs dense by itself and is not measured"
    )


def short_names(names: Sequence[str]) -> list[str]:
    """Return the names without the dotted parts that all begin or end with; a single name is kept whole."""
    parts = [name.split(".") for name in names]
    begin = _count_shared(parts)
    end = _count_shared([part[begin:][::-1] for part in parts])
    if len(names) < 2 or any(begin + end >= len(part) for part in parts):
        return list(names)
    return [".".join(part[begin : len(part) - end]) for part in parts]


def _count_shared(parts: Sequence[Sequence[str]]) -> int:
    """Return the number of parts that all begin with."""
    return next((at for at, row in enumerate(zip(*parts, strict=False)) if len(set(row)) > 1), min(map(len, parts)))


def _by_step(
    samples: Sequence[Sequence[Sample]],
    steps: int,
    read: Callable[[Sample], float],
    together: Callable[[Iterable[float]], float],
) -> Values:
    rows = []
    for part in samples:
        found: dict[int, list[float]] = {}
        for sample in part:
            found.setdefault(sample.step, []).append(read(sample))
        rows.append([together(found[step]) if step in found else None for step in range(steps)])
    return rows


def _by_head(samples: Sequence[Sample], heads: int) -> Sequence[float | None]:
    """Return the minimum recall of each head; None for heads that only another model of the pipeline has."""
    smallest = [min(head) for head in zip(*(sample.recall for sample in samples), strict=True)]
    return [*smallest, *[None] * (heads - len(smallest))]


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return math.fsum(found) / len(found)


def _numbers(rows: Values) -> list[float]:
    return [value for row in rows for value in row if value is not None and math.isfinite(value)]


def _title(probe: Probe) -> str:
    return f"{probe.method} on {probe.facts['model']}"


def _about(probe: Probe, chosen: Mapping[str, Outcome]) -> str:
    full = len(whole(chosen))
    what = f"; {full} of {len(chosen)} layers leave nothing out" if full else ""
    facts, prompts = probe.facts, len(probe.facts["prompts"])
    size = f"{facts['frames']} frames of {facts['height']}x{facts['width']}, {probe.steps} steps"
    return f"{size}, {prompts} prompt{'s' if prompts > 1 else ''}; each layer at its chosen level{what}"
