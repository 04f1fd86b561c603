"""Find the temporal positions of a model: modules by name, compared with the positions that are known."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from genkit.attention.facts import positions as known
from genkit.attention.facts.positions import PositionFacts
from genkit.attention.facts.volume import Arguments, Volume
from genkit.attention.model.forward import arguments_of
from genkit.attention.model.positions import embedding_of
from genkit.attention.positions.rotary import by_frame
from genkit.attention.positions.shift import check_near, check_turns
from genkit.attention.replays.replay import replay
from genkit.tracing.reading.experiments import Experiments
from genkit.tracing.reading.findings import Found, Missing, quoted
from genkit.tracing.reading.kinds import Verdict
from genkit.tracing.reading.patterns import numberless
from genkit.tracing.reading.volumes import Reading

NAMES = re.compile(r"(^|_)(rope|rotary|pos_embed|pos_frequencies|pe)(_|$)|rope|rotary|pos_embed")
"""Names of modules, parameters and arguments that may make positions."""
WHERE = "genkit.attention.facts.positions"
MODULES = (
    "WAN_POSITIONS",
    "HUNYUAN_POSITIONS",
    "LTX_POSITIONS",
    "COSMOS_POSITIONS",
    "MOCHI_POSITIONS",
    "EASYANIMATE_POSITIONS",
)
"""Positions that a module computes, which are tried on modules of any name."""


def positions_of(found: Experiments, reading: Reading, judged: Mapping[str, Verdict]) -> Found | Missing:
    """Return the positions that a model's own tables agree with; otherwise the names of what may make them."""
    try:
        facts = _sinusoid(found, judged) or _argument(found, reading.volume) or _module(found, reading.volume)
    except Exception:  # a table of another form than those that are known
        facts = None
    if facts is not None:
        name, where = facts
        own: PositionFacts = getattr(known, name)
        moved = replace(own, where=where)
        same = own.where == where
        code = name if same else f"replace({name}, where={quoted(where)})"
        imports = (f"{WHERE}:{name}",) if same else (f"{WHERE}:{name}", "dataclasses:replace")
        said = f"{own.making}, at {where or 'each attention module'}; the model's own table has these frequencies"
        return Found(field="positions", value=own if same else moved, code=code, imports=imports, said=said)
    names = ", ".join(f"`{name}`" for name in _named(found.forward.model, found.forward.arguments))
    said = f"{names} may make them" if names else "nothing in the model is called rope, rotary or pos_embed"
    return Missing(field="positions", said=said)


def _named(model: nn.Module, arguments: Arguments) -> list[str]:
    """Return the names of modules, parameters, buffers and arguments that may make positions, at most five."""
    modules = [name for name, _ in model.named_modules() if NAMES.search(name.rpartition(".")[2])]
    tensors = [name for name, _ in (*model.named_parameters(), *model.named_buffers())]
    tensors = [name for name in tensors if NAMES.search(name.rpartition(".")[2])]
    given = [name for name, value in arguments.items() if NAMES.search(name) and value is not None]
    return list(dict.fromkeys(map(numberless, (*modules, *tensors, *given))))[:5]


def _module(found: Experiments, volume: Volume) -> tuple[str, str] | None:
    """Return the known positions of a module that computes tables of cosines and sines, and the name of the module."""
    model = found.forward.model
    for where, module in model.named_modules():
        if not NAMES.search(where.rpartition(".")[2]):
            continue
        made = _made(found, module)
        for name in MODULES if made is not None else ():
            if _fits(getattr(known, name), model, made, volume):
                return name, where
    return None


def _made(found: Experiments, module: nn.Module) -> tuple[Arguments, Any] | None:
    """Return the arguments and the answer of one module in the forward; None if it did not run."""
    seen: list[tuple[Arguments, Any]] = []

    def keep(part: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        seen.append((arguments_of(part, args, kwargs), out))

    handle = module.register_forward_hook(keep, with_kwargs=True)
    try:
        replay(found.forward)
    finally:
        handle.remove()
    return seen[0] if seen else None


def _argument(found: Experiments, volume: Volume) -> tuple[str, str] | None:
    """Return the known positions of a table that the pipeline passes to every forward."""
    model, arguments = found.forward.model, found.forward.arguments
    for where, value in arguments.items():
        if NAMES.search(where) and _fits(known.COGVIDEOX_POSITIONS, model, (arguments, value), volume):
            return "COGVIDEOX_POSITIONS", where
    return None


def _fits(facts: PositionFacts, model: nn.Module, made: Any, volume: Volume) -> bool:
    """Return True if a table of cosines and sines turns with time as known positions do."""
    arguments, tables = made
    assert facts.rotation is not None
    try:
        cosines, sines = (by_frame(table, facts.token_axis, volume, "a table") for table in tables)
        check_turns(facts.rotation(model, arguments), cosines[:, 0], sines[:, 0], "a table")
    except Exception:
        return False
    return volume[0] > 1 and bool((cosines[0] != cosines[-1]).any())


def _sinusoid(found: Experiments, judged: Mapping[str, Verdict]) -> tuple[str, str] | None:
    """Return the positions of a table that is added before temporal attention."""
    temporal = next((name for name, one in judged.items() if one.kind == "temporal"), None)
    table = None if temporal is None else embedding_of(found.forward.model, temporal)
    if table is None:
        return None
    facts = known.ANIMATEDIFF_POSITIONS
    assert facts.rotation is not None
    rotation = facts.rotation(table, {})
    pe = _table(table)[0].double().cpu()
    assert rotation.channels is not None
    frames = range(len(pe))
    angles = pe.new_tensor(list(frames))[:, None] * rotation.inverse_frequencies
    sines, cosines = pe[:, rotation.channels[:, 0]], pe[:, rotation.channels[:, 1]]
    missed = (sines - angles.sin()).abs().maximum((cosines - angles.cos()).abs())
    check_near(missed, _table(table).dtype, float(angles.max()), "a table")
    return "ANIMATEDIFF_POSITIONS", facts.where


def _table(embedding: Any) -> Tensor:
    found: Tensor = embedding.pe
    return found
