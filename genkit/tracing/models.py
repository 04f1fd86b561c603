"""Read the facts of one model from a recorded forward of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genkit.attention.calls.call import Kind
from genkit.attention.facts.model_facts import ModelFacts, all_before
from genkit.attention.facts.volume import packed_before, packed_others
from genkit.attention.replays.calls import SeenCall
from genkit.attention.replays.replay import FirstForward
from genkit.tracing.reading.experiments import Experiments, experiment
from genkit.tracing.reading.findings import Found, Missing, of_dict, of_regex, quoted, wrapped
from genkit.tracing.reading.kinds import Verdict, is_text, verdicts
from genkit.tracing.reading.patterns import numberless, pattern_of
from genkit.tracing.reading.places import Places, places_of
from genkit.tracing.reading.positions import positions_of
from genkit.tracing.reading.timesteps import level_of
from genkit.tracing.reading.volumes import Reading, folded_reading, reading_of

VOLUMES = "genkit.attention.facts.volume"
FACTS = "genkit.attention.facts.model_facts"


@dataclass(frozen=True, kw_only=True)
class ModelTrace:
    """What was found of one denoising model."""

    component: str
    """Name of the model in the pipeline."""
    name: str
    """Class of the model."""
    found: tuple[Found, ...]
    """Fields that were found, and what the facts have no field for."""
    missing: tuple[Missing, ...]
    """Fields that were not found."""
    deterministic: bool = True
    """True if the same forward twice gave the same output, bit for bit."""

    @property
    def facts(self) -> ModelFacts | None:
        """The facts; None if there is no attention over the video that a rule could act in."""
        fields = {one.field: one.value for one in self.found if one.field}
        return ModelFacts(**fields) if fields.keys() >= {"classes", "layers", "volume"} else None


def trace_model(forward: FirstForward) -> ModelTrace:
    """Return what one recorded forward shows of its model."""
    found = experiment(forward)
    name = type(forward.model).__name__
    if found is None:
        said = "which of its arguments are the latents, or which of its rows are the video's, could not be found"
        return _nothing(forward, name, Missing(field="volume", said=said))
    places = places_of(found)
    reading = reading_of(found, places) if places is not None else None
    folded = folded_reading(found) if reading is None or not (places and places.square) else None
    if folded is not None:
        places, reading = None, folded
    if reading is None:
        return _nothing(forward, name, _without_volume(found))
    judged = verdicts(found, reading.volume, places)
    if not any(one.kind for one in judged.values()):
        return _nothing(forward, name, Missing(field="layers", said="no attention over the video was seen"))
    return _traced(found, places, reading, judged)


def _nothing(forward: FirstForward, name: str, missing: Missing) -> ModelTrace:
    return ModelTrace(component=forward.component, name=name, found=(), missing=(missing,))


def _without_volume(found: Experiments) -> Missing:
    calls = len(found.calls)
    if not calls:
        said = (
            "no call of scaled_dot_product_attention was seen, so its attention is linear, FlexAttention or written "
            "out, and no rule can act there"
        )
    else:
        said = f"{calls} attention calls were seen, and in none of them were frames, rows and columns seen apart"
    return Missing(field="volume", said=said)


def _traced(found: Experiments, places: Places | None, reading: Reading, judged: Mapping[str, Verdict]) -> ModelTrace:
    model = found.forward.model
    fields: list[Found | Missing | None] = [
        Found(field="classes", value=(type(model).__name__,), code=f'("{type(model).__name__}",)', said="its class"),
        _layers(found, judged),
        *_excluded(judged),
        *_volume(reading),
        *_around(found, places, reading),
        _frame_axis(reading),
        _blocks(found, judged, places),
        _positions(found, places, reading, judged),
        level_of(found, reading),
        _without_self(judged),
        *_calls(found, judged, places),
    ]
    return ModelTrace(
        component=found.forward.component,
        name=type(model).__name__,
        found=tuple(one for one in fields if isinstance(one, Found)),
        missing=tuple(one for one in fields if isinstance(one, Missing)),
        deterministic=found.deterministic,
    )


def _layers(found: Experiments, judged: Mapping[str, Verdict]) -> Found:
    kinds = list(dict.fromkeys(one.kind for one in judged.values() if one.kind is not None))
    value: dict[Kind, str] = {}
    for kind in kinds:
        value[kind] = _pattern(judged, [name for name, one in judged.items() if one.kind == kind])
    counts = ", ".join(f"{_count(judged, kind)} {kind}" for kind in kinds)
    return Found(
        field="layers",
        value=value,
        code=of_dict({f'"{kind}"': of_regex(pattern) for kind, pattern in value.items()}),
        said=f"{counts} ({'; '.join(f'{kind}: {pattern}' for kind, pattern in value.items())})",
    )


def _count(judged: Mapping[str, Verdict], kind: Kind) -> int:
    return sum(one.kind == kind for one in judged.values())


def _pattern(judged: Mapping[str, Verdict], names: list[str]) -> str:
    return pattern_of(names, set(judged) - set(names))


def _excluded(judged: Mapping[str, Verdict]) -> list[Found]:
    """Return modules that no rule can act in, and those that attend to the video and have to stay as they are."""
    made = []
    for field, video in (("excluded", False), ("dense", True)):
        reasons = list(dict.fromkeys(one.reason for one in judged.values() if one.kind is None and one.video == video))
        names = {reason: [name for name, one in judged.items() if one.reason == reason] for reason in reasons}
        value = {_pattern(judged, seen): reason for reason, seen in names.items()}
        if value:
            code = of_dict({of_regex(pattern): quoted(reason) for pattern, reason in value.items()})
            said = "; ".join(f"{pattern}: {reason}" for pattern, reason in value.items())
            made.append(Found(field=field, value=value, code=code, said=said))
    return made


def _volume(reading: Reading) -> list[Found]:
    frames, rows, cols = reading.volume
    said = f"{frames} frames of {rows} x {cols} tokens, from latents {reading.layout}"
    if reading.name:
        imports = (f"{VOLUMES}:{reading.name}",)
        return [Found(field="volume", value=reading.reader, code=reading.name, imports=imports, said=said)]
    shape = ", ".join(f"shape[{axis}] // {cell}" for axis, cell in zip(reading.axes, reading.patch, strict=True))
    before = f'def volume(model, arguments):\n    shape = arguments["{reading.latents}"].shape\n    return {shape}'
    return [Found(field="volume", value=reading.reader, code="volume", before=before, said=said)]


def _frame_axis(reading: Reading) -> Found | None:
    axis = reading.frame_axis
    said = "tokens, packed frame by frame" if axis is None else f"frames in axis {axis} of the latents"
    return None if axis == 2 else Found(field="frame_axis", value=axis, said=said)


def _around(found: Experiments, places: Places | None, reading: Reading) -> list[Found | Missing]:
    """Return where other tokens stand that share the sequence of the video."""
    if places is None:
        return [Found(field="", said="attention along time and inside frames is apart")]
    said = f"{places.before} tokens before the video, {places.video} of it, {places.after} behind it"
    if reading.name == "packed" and found.forward.arguments.get("video_coords") is not None:
        named = {"before": packed_before, "others_in_self": packed_others}
        return [
            Found(field=field, value=value, code=value.__name__, imports=(f"{VOLUMES}:{value.__name__}",), said=said)
            for field, value in named.items()
        ]
    if not places.before:
        return [Found(field="", said=said)]
    if not places.after:
        return [Found(field="before", value=all_before, code="all_before", imports=(f"{FACTS}:all_before",), said=said)]
    return [_counted(found, places, said)]


def _counted(found: Experiments, places: Places, said: str) -> Found:
    """Return a reader that refuses, because the number of tokens in front depends on what cannot be seen."""
    changes = _in_front(found, places)
    reason = (
        f"{places.before} of {places.tokens} tokens stood before the video when {type(found.forward.model).__name__} "
        f"was traced ({', '.join(changes) or 'of unknown arguments'}), and how many do in general is not known; fill "
        "in `before` in its facts"
    )

    def before(model: Any, arguments: Any) -> int:
        raise ValueError(reason)

    head = f"def before(model, arguments):\n    raise ValueError(\n{wrapped(reason, ' ' * 8)}\n    )"
    said = f"{said}; how many in general is not known"
    return Found(field="before", value=before, code="before", before=head, said=said, whole=False)


def _positions(
    found: Experiments, places: Places | None, reading: Reading, judged: Mapping[str, Verdict]
) -> Found | Missing:
    """Return the temporal positions, if the frames of the video are not counted together with others."""
    if places is not None and places.before and not all(map(is_text, _in_front(found, places))):
        said = "frames may be counted together with what stands before them, so a plug-in cannot change them yet"
        return Missing(field="positions", said=said)
    return positions_of(found, reading, judged)


def _in_front(found: Experiments, places: Places) -> list[str]:
    """Return the names of arguments that move tokens before the video."""
    rows = {name: found.moved_q(places.call, changed)[: places.before] for name, changed in found.others.items()}
    return [name for name, moved in rows.items() if bool(moved.any())]


def _without_self(judged: Mapping[str, Verdict]) -> Found | None:
    """Return what is said of a model whose frames do not see each other in any call that was seen."""
    if {one.kind for one in judged.values()} & {"self", "joint", "temporal"}:
        return None
    said = "no attention among the video's own tokens was seen: it is linear, FlexAttention or written out"
    return Found(field="", said=said)


def _blocks(found: Experiments, judged: Mapping[str, Verdict], places: Places | None) -> Found:
    """Return the module lists whose blocks pass hidden states on unchanged."""
    if places is not None and places.before and not all(map(is_text, _in_front(found, places))):
        return Found(
            field="", said="other tokens stand in front of the video in its blocks: no order through all of them"
        )
    seen = {name for name, one in judged.items() if one.kind in ("self", "joint")}
    lists = [one for one in found.plain.passed if any(name.startswith(f"{one.name}.") for name in seen)]
    inside = all(any(name.startswith(f"{one.name}.") for one in lists) for name in seen)
    joined = all(one.last & other.first for one, other in zip(lists, lists[1:], strict=False))
    if not lists or not inside or not joined or not all(one.unchanged for one in lists):
        said = "something is added between its blocks, or other tokens come and go: no order through all of them"
        return Found(field="", said=said)
    names = tuple(one.name for one in lists)
    code = f"({', '.join(map(quoted, names))},)" if len(names) == 1 else f"({', '.join(map(quoted, names))})"
    return Found(
        field="blocks", value=names, code=code, said=f"hidden states pass unchanged through {', '.join(names)}"
    )


def _calls(found: Experiments, judged: Mapping[str, Verdict], places: Places | None) -> list[Found]:
    """Return what the facts have no field for: masks, heads, calls of one module, modules that were silent."""
    of_kind = [call for call in found.calls if judged[call.layer].kind is not None]
    said = [f"masks: {', '.join(dict.fromkeys(call.mask for call in of_kind))}"]
    said += ["is_causal is set"] if any(call.causal for call in of_kind) else []
    said += [_heads(of_kind)] if any(call.heads[0] != call.heads[1] for call in of_kind) else []
    many = max((call.number for call in of_kind), default=0) + 1
    said += [f"{many} calls of attention in one module"] if many > 1 else []
    silent = _silent(found, judged)
    said += [f"modules that look like attention and made no call: {', '.join(silent)}"] if silent else []
    return [Found(field="", said=one) for one in said]


def _heads(calls: list[SeenCall]) -> str:
    queries, keys = next(call.heads for call in calls if call.heads[0] != call.heads[1])
    return f"{queries} heads of queries share {keys} of keys"


def _silent(found: Experiments, judged: Mapping[str, Verdict]) -> list[str]:
    modules = found.forward.model.named_modules()
    names = [name for name, module in modules if hasattr(module, "to_q") or "Attention" in type(module).__name__]
    seen = set(judged)
    mute = [name for name in names if not any(one == name or one.startswith(f"{name}.") for one in seen)]
    return list(dict.fromkeys(numberless(name) for name in mute if name))[:5]
