"""Write traced facts as a Python file that registers them."""

from collections.abc import Iterable, Sequence

from genkit.tracing.reading.findings import Found, Missing

TRACED, FILL_IN = "# traced", "# please fill in"
GIVEN = ("classes", "name")
"""Fields that are no finding: what the pipeline and its model are called."""


def source_of(
    title: str,
    models: Sequence[tuple[Sequence[Found], Sequence[Missing]]],
    pipeline: tuple[Sequence[Found], Sequence[Missing]],
    known: bool,
) -> str:
    """Return the text of a module with the facts of models and of their pipeline, formatted.

    Args:
        title: what was traced, as the first line of the module.
        models: found and missing fields of each model.
        pipeline: found and missing fields of the pipeline.
        known: whether other facts are known under one of the names, so that these have to replace them.
    """
    names = ["MODEL"] if len(models) == 1 else [f"MODEL_{number}" for number in range(1, len(models) + 1)]
    every = [one for found, _ in (*models, pipeline) for one in found if one.field]
    parts = [f'"""{title}"""', _imports(every)]
    parts += dict.fromkeys(f"\n{one.before}\n" for one in every if one.before)
    facts = [_facts(name, "ModelFacts", *one) for name, one in zip(names, models, strict=True)]
    facts.append(_facts("PIPELINE", "PipelineFacts", *pipeline))
    facts.append(f"FACTS = ({', '.join([*names, 'PIPELINE'])})")
    facts.append(f"for facts in FACTS:\n    genkit.register(facts{', replace=True' if known else ''})")
    return "\n\n".join([*parts, "\n".join(facts)]) + "\n"


def _imports(found: Iterable[Found]) -> str:
    """Return the imports in order: the standard library, then ours."""
    by_module: dict[str, set[str]] = {"genkit": {"ModelFacts", "PipelineFacts"}}
    for one in found:
        for module, _, name in (place.partition(":") for place in one.imports):
            by_module.setdefault(module, set()).add(name)
    lines = {module: f"from {module} import {', '.join(sorted(names))}" for module, names in by_module.items()}
    standard = [lines.pop("dataclasses"), ""] if "dataclasses" in lines else []
    return "\n".join([*standard, "import genkit", *(lines[module] for module in sorted(lines))])


def _facts(name: str, kind: str, found: Sequence[Found], missing: Sequence[Missing]) -> str:
    lines = [f"{name} = {kind}("]
    for one in found:
        if one.field:
            lines += _field(one)
    for left in missing:
        lines += [f"    {line}" for line in _comment(f"{FILL_IN}: {left.field}, {left.said}")]
        lines += [f"    # {left.field}={left.code}," for _ in range(bool(left.code))]
    return "\n".join([*lines, ")"])


def _field(one: Found) -> list[str]:
    """Return the lines of one field, the first of which says that it was traced."""
    first, *rest = one.text.split("\n")
    mark = "" if one.field in GIVEN else f"  {TRACED if one.whole else FILL_IN}"
    if not rest:
        return [f"    {one.field}={first},{mark}"]
    return [f"    {one.field}={first}{mark}", *(f"    {line}" for line in rest[:-1]), f"    {rest[-1]},"]


def _comment(text: str, width: int = 110) -> list[str]:
    """Return a comment in lines of at most ``width`` characters, if its words are short enough."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = "#"
        line = f"{line} {word}" if line else word
    return [*lines, line]
