"""What the plug-ins of a recipe that an earlier release wrote are called today.

A recipe names of each plug-in only what differs from the defaults. Where a default or a parameter has changed since,
the text is completed with what it meant, so that the same video comes of it; where the method itself has changed, it is
marked as ``name@schema``, which ``catalogue.parse`` refuses with the reason. Whoever changes a default or a method
raises ``recipe.SCHEMA_VERSION`` and adds here what recipes of the schema before meant; a test holds the defaults.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from genkit.attention.geometry.grid import latent_frames
from genkit.errors import UsageError
from genkit.plugins.text import join_text, split_text
from genkit.schedulers.noise import largest_stride

RELEASES = {1: "genkit-video 0.1.0"}
"""What wrote recipes of each earlier schema."""
LENGTHS_1 = {
    "tiny": (9, 2),
    "wan": (21, 4),
    "wan2.2": (21, 4),
    "hunyuanvideo": (33, 4),
    "cogvideox": (13, 4),
    "ltx": (16, 8),
    "mochi": (28, 6),
    "animatediff": (16, 1),
    "text-to-video-sd": (16, 1),
}
"""By family: latent frames of the training, and pixel frames of each of them, as schema 1 had them."""
SAME_LENGTH_1 = {
    "wan": ("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "Wan-AI/Wan2.1-T2V-14B-Diffusers"),
    "cogvideox": ("THUDM/CogVideoX-2b", "THUDM/CogVideoX-5b"),
    "ltx": (),
}
"""Families of which models have another length today (Wan 2.2 TI2V-5B, CogVideoX 1.5, LTX-Video), and those that have
not."""
SEEDS_1 = 2**32
"""Schema 1 made one video of all seeds that agree in their remainder."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """The video that a recipe made."""

    family: str | None
    """Family of its model; None if the recipe does not tell."""
    model: str | None = None
    """What was opened; None if the recipe does not tell."""
    frames: int | None
    """Its pixel frames; None if the recipe does not tell."""

    @property
    def has_another_length(self) -> bool:
        """Whether the model may count as trained on another length today."""
        return self.family in SAME_LENGTH_1 and self.model not in SAME_LENGTH_1[self.family]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What was different about a plug-in."""

    defaults: Mapping[str, str] = field(default_factory=dict)
    """Parameters and what they were when a text left them out."""
    completed: Callable[[Mapping[str, str], Made], Mapping[str, str]] = lambda values, made: {}
    """The same for parameters that depended on the model."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Parameters that have another name today."""
    differs: Callable[[Mapping[str, str], Made], bool] = lambda values, made: False
    """Whether no parameters of today make the same video."""
    reason: str = ""
    """What it did, where that is not to be had any more."""


def _over(made: Made, window: str | None = None) -> int | None:
    """Latent frames beyond a window, or beyond the training; None if the recipe does not tell."""
    if made.family not in LENGTHS_1 or made.frames is None:
        return None
    native, frames = LENGTHS_1[made.family]
    return latent_frames(made.frames, frames) - int(window or native)


def _partial_group(values: Mapping[str, str], made: Made) -> bool:
    """Whether the shuffled noise of schema 1 ended with a part of a group, which could repeat a noise in a window."""
    over = _over(made, values.get("window"))
    if over is None or made.family is None:
        return True
    window = int(values.get("window") or LENGTHS_1[made.family][0])
    return over > 0 and over % int(values.get("stride") or largest_stride(window)) > 0


def _freenoise(values: Mapping[str, str], made: Made) -> bool:
    given = {key: value for key, value in values.items() if value.lower() != "none"}
    long = made.frames is None or made.frames > int(given.get("window") or LENGTHS_1["animatediff"][0])
    pairs = made.family == "cogvideox" and made.has_another_length  # two latent frames share a token in 1.5
    return _partial_group(given, made) or ((made.family == "animatediff" or pairs) and long)


def _freenoise_window(values: Mapping[str, str], made: Made) -> Mapping[str, str]:
    if made.family is None or not made.has_another_length or values.get("window", "none").lower() != "none":
        return {}
    return {"window": str(LENGTHS_1[made.family][0])}


def _freelong(values: Mapping[str, str], made: Made) -> bool:
    over = _over(made)
    if made.has_another_length and (over is None or over > 0):
        return True
    return values.get("noise") != "plain" and _partial_group({}, made)


def _searches_for_recall(values: Mapping[str, str], made: Made) -> bool:
    return bool({"recall", "budget"} & values.keys()) and values.get("searches", "").lower() != "none"


FIRST_FRAME = {"first_frame": "none"}
MOST = {"most": "max_density"}
"""What the sparse methods called the bound of a density that a recall may take."""
CHANGES: dict[int, dict[str, Change]] = {
    1: {
        "adaspa": Change(
            defaults=FIRST_FRAME,
            renamed=MOST,
            differs=_searches_for_recall,
            reason="searched again by a log-sum-exp of earlier steps, by which a recall is not to be had",
        ),
        "frame-anchors": Change(
            renamed=MOST,
            differs=lambda values, made: True,
            reason="read key frames further apart than its source",
        ),
        "svg2": Change(
            renamed={**MOST, "least": "min_share"},
            differs=lambda values, made: True,
            reason="numbered clusters as they were found",
        ),
        "vmoba": Change(
            renamed=MOST, differs=lambda values, made: True, reason="cut chunks of 64 tokens, unlike its source"
        ),
        "freelong": Change(
            renamed={"window": "near"},
            differs=_freelong,
            reason="could begin with the same noise twice in the last window, or took another length for that of the "
            "training",
        ),
        "sliding-tile": Change(renamed=MOST),
        "svg": Change(renamed=MOST),
        "radial": Change(defaults={"decay": "1.0"}, renamed=MOST),
        "sparge": Change(defaults=FIRST_FRAME, renamed=MOST),
        "threshold": Change(defaults=FIRST_FRAME, renamed=MOST),
        "freenoise": Change(
            differs=_freenoise,
            completed=_freenoise_window,
            reason="could begin with the same noise twice in the last window, counted positions on beyond a window, or "
            "counted frames that share a token",
        ),
    }
}
"""By schema and plug-in."""


def texts_today(texts: list[Any], schema: int, made: Made) -> list[Any]:
    """Return plug-in texts of a recipe of ``schema`` as texts of today; what is no text of a plug-in stays as it is."""
    changes = CHANGES.get(schema, {})
    return [_today(text, changes, schema, made) if isinstance(text, str) else text for text in texts]


def _today(text: str, changes: Mapping[str, Change], schema: int, made: Made) -> str:
    try:
        name, values = split_text(text)
        change = changes.get(name)
        if change is None:
            return text
        if change.differs(values, made):
            return join_text(f"{name}@{schema}", values)
    except (UsageError, ValueError):  # not written by us: refused by whoever reads it
        return text
    added = {key: value for key, value in change.defaults.items() if key not in values}
    values = {change.renamed.get(key, key): value for key, value in values.items()} | added
    return join_text(name, {**values, **change.completed(values, made)})


def seed_today(seed: Any, schema: int) -> Any:
    """Return the seed of today that draws what the seed in a recipe of ``schema`` drew."""
    return seed % SEEDS_1 if schema == 1 and type(seed) is int and seed >= SEEDS_1 else seed


LAYERS: Mapping[str, Mapping[str, str]] = {
    "radial": {"sink": "first_frame", "block_rule": "rule"},
    "svg2": {"least": "min_share"},
}
"""Fields of a layer in budgets of release 0.1.0 that have another name today, by method."""


def layer_today(method: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a budget sets in a layer in today's terms: names as today, and the densest settings as numbers that a
    plug-in takes."""
    found = {LAYERS.get(method, {}).get(name, name): value for name, value in fields.items()}
    if method == "adaspa" and found.get("recall", 0) is None:
        del found["recall"]
    if method == "threshold" and found.get("tau") == -math.inf:
        found["tau"] = -1000.0
    if method == "vmoba" and type(found.get("threshold")) is float:
        found["threshold"] = min(found["threshold"], 1.0)
    return found


def check_parameter(name: str, key: str) -> None:
    """Raise ``UsageError`` for a parameter that has another name today."""
    for changes in CHANGES.values():
        if key in (renamed := changes.get(name, Change()).renamed):
            raise UsageError(f"{name} has no parameter {key!r} any more; it is called {renamed[key]!r} now")


def check_name(name: str) -> None:
    """Raise ``UsageError`` for a plug-in ``name@schema`` that is not to be had any more, with the reason."""
    bare, at, number = name.partition("@")
    schema = int(number) if number.isdecimal() else 0
    change = CHANGES.get(schema, {}).get(bare)
    if at and change is not None:
        raise UsageError(
            f"{bare} of {RELEASES[schema]}, which made this video, {change.reason}; this release cannot make that "
            f"video again: choose today's method (--set plugins={bare}) or rerun it with that release"
        )
