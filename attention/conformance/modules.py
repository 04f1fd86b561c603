"""The attention modules of a model, against the patterns of its facts."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import nn

from genkit.attention.calls.call import Kind
from genkit.attention.conformance.finding import Finding
from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.replays.calls import SeenCall


def kinds_of(model: nn.Module, facts: ModelFacts) -> dict[str, Kind]:
    """Return the kind of each module that a rule would act in, by its name."""
    found = ((name, facts.kind_of(name)) for name, _ in model.named_modules())
    return {name: kind for name, kind in found if kind is not None}


def patterns(model: nn.Module, facts: ModelFacts) -> Iterator[Finding]:
    """Yield what is wrong with the patterns by the names of the modules alone."""
    names = [name for name, _ in model.named_modules()]
    for kind, pattern in facts.layers.items():
        if not any(re.fullmatch(pattern, name) for name in names):
            yield Finding(fact="layers", ok=False, found=f"no module matches {pattern!r}, which would be {kind}")
    apart = {str(kind): pattern for kind, pattern in facts.layers.items()}
    apart |= {pattern: pattern for pattern in (*facts.excluded, *facts.dense)}
    for name in names:
        matched = [what for what, pattern in apart.items() if re.fullmatch(pattern, name)]
        if len(matched) > 1:
            yield Finding(fact="layers", ok=False, found=f"{name} is both {matched[0]} and {matched[1]}")
            return
    yield from _blocks(model, facts)


def _blocks(model: nn.Module, facts: ModelFacts) -> Iterator[Finding]:
    for name in facts.blocks:
        if not isinstance(getattr(model, name, None), nn.ModuleList):
            yield Finding(fact="blocks", ok=False, found=f"the model has no list of modules {name!r}")


def as_named(kinds: dict[str, Kind], calls: Sequence[SeenCall]) -> tuple[SeenCall, ...]:
    """Return the calls with the layer that the facts name, where a part of it calls attention."""
    return tuple(
        replace(call, layer=next((name for name in above(call.layer) if name in kinds), call.layer)) for call in calls
    )


def above(layer: str) -> list[str]:
    """Return the names of a module and of all that it is part of, the nearest first."""
    parts = layer.split(".")
    return [".".join(parts[:length]) for length in range(len(parts), 0, -1)]


def accounted(facts: ModelFacts, kinds: dict[str, Kind], calls: Sequence[SeenCall]) -> Iterator[Finding]:
    """Yield whether each attention call is of a module that the facts name, and each layer made as many calls."""
    named = (*facts.excluded, *facts.dense)
    strange = dict.fromkeys(call.layer for call in calls if not _is_named(call.layer, kinds, named))
    for layer in list(strange)[:1]:
        more = f", and {len(strange) - 1} more," if len(strange) > 1 else ""
        yield Finding(
            fact="layers",
            ok=False,
            found=f"{layer or 'the model itself'}{more} attends, and the facts name it neither in layers nor in "
            "excluded",
        )
    yield from _counts(kinds, calls)


def _is_named(layer: str, kinds: dict[str, Kind], named: Sequence[str]) -> bool:
    """Return True if a module, or one that it is part of, is named."""
    return any(name in kinds or any(re.fullmatch(pattern, name) for pattern in named) for name in above(layer))


def _counts(kinds: dict[str, Kind], calls: Sequence[SeenCall]) -> Iterator[Finding]:
    """Yield how many calls the layers of each kind made."""
    by_layer = {layer: sum(call.layer == layer for call in calls) for layer in kinds}
    silent = [layer for layer, made in by_layer.items() if not made]
    if silent:
        yield Finding(
            fact="layers",
            ok=False,
            found=f"{silent[0]} ({kinds[silent[0]]}) never called scaled_dot_product_attention ({len(silent)} such)",
        )
        return
    for kind in dict.fromkeys(kinds.values()):
        made = sorted({by_layer[layer] for layer in kinds if kinds[layer] == kind})
        count = sum(one == kind for one in kinds.values())
        each = " or ".join(map(str, made))
        yield Finding(fact="layers", ok=True, found=f"{count} {kind}, {each} call{'s' if made != [1] else ''} each")


def masks(facts: ModelFacts, kinds: dict[str, Kind], calls: Sequence[SeenCall]) -> Iterator[Finding]:
    """Yield the masks that layers over the video get; one that hides later tokens is of no kind."""
    seen: dict[str, dict[str, None]] = {}
    for call in calls:
        if kinds.get(call.layer) in ("self", "joint"):
            if kinds[call.layer] == "joint" and call.number < facts.text_calls:
                continue
            if call.causal:
                yield Finding(fact="masks", ok=False, found=f"{call.layer} hides later tokens (is_causal)")
                return
            seen.setdefault(call.mask, {})[kinds[call.layer]] = None
    for mask, of in seen.items():
        text = MASKS[mask]
        yield Finding(fact="masks", ok=True, found=f"{' and '.join(of)}: {text}")


MASKS = {
    "none": "no mask",
    "key padding": "a mask of padding among the keys",
    "outer": "a mask of padding among queries and keys",
    "other": "a mask of another kind, so sparse methods leave these layers dense",
}
"""Kinds of masks, as words."""
