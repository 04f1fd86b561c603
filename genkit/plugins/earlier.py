"""Translate plug-ins in recipes of earlier releases, so that they make the same video today.

A recipe stores only parameters that differ from the defaults. If a default or a name has changed since, the original
meaning is filled in; if the method itself has changed, the plug-in becomes ``name@schema``, which ``catalogue.parse``
refuses with the reason. Whoever changes a default or a method raises ``recipe.SCHEMA_VERSION`` and adds the previous
meaning here; a test compares the defaults.
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
"""Release that wrote recipes of each earlier schema."""
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
"""Training length in latent frames and temporal stride of each family, as in schema 1."""
SAME_LENGTH_1 = {
    "wan": ("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "Wan-AI/Wan2.1-T2V-14B-Diffusers"),
    "cogvideox": ("THUDM/CogVideoX-2b", "THUDM/CogVideoX-5b"),
    "ltx": (),
}
"""Families with models whose training length has changed since (Wan 2.2 TI2V-5B, CogVideoX 1.5, LTX-Video), each with
its models that kept theirs."""
SEEDS_1 = 2**32
"""Schema 1 used seeds modulo this number."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a recipe says about its video; None if it does not say."""

    family: str | None
    """Family of the model."""
    model: str | None = None
    """Model that was opened."""
    frames: int | None
    """Pixel frames."""

    @property
    def has_another_length(self) -> bool:
        """True if the training length of the model may have changed since."""
        return self.family in SAME_LENGTH_1 and self.model not in SAME_LENGTH_1[self.family]


@dataclass(frozen=True, kw_only=True)
class Change:
    """Difference between a plug-in then and now."""

    defaults: Mapping[str, str] = field(default_factory=dict)
    """Earlier defaults by parameter."""
    completed: Callable[[Mapping[str, str], Made], Mapping[str, str]] = lambda values, made: {}
    """Returns earlier defaults that depended on the model."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """New name of each renamed parameter."""
    differs: Callable[[Mapping[str, str], Made], bool] = lambda values, made: False
    """Returns True if no settings make the same video today."""
    reason: str = ""
    """What the method did then, as a predicate, if that is not available any more."""


def _over(made: Made, window: str | None = None) -> int | None:
    """Return latent frames beyond a window, or beyond the training length; None if unknown."""
    if made.family not in LENGTHS_1 or made.frames is None:
        return None
    native, frames = LENGTHS_1[made.family]
    return latent_frames(made.frames, frames) - int(window or native)


def _partial_group(values: Mapping[str, str], made: Made) -> bool:
    """Return True if the noise of schema 1 ended with an incomplete group, which could repeat noise in a window."""
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
"""Earlier name of the max density under ``recall``."""
CHANGES: dict[int, dict[str, Change]] = {
    1: {
        "adaspa": Change(
            defaults=FIRST_FRAME,
            renamed=MOST,
            differs=_searches_for_recall,
            reason="repeated its search with a log-sum-exp of earlier steps, which cannot reach a given recall",
        ),
        "frame-anchors": Change(
            renamed=MOST,
            differs=lambda values, made: True,
            reason="placed key frames further apart than its source",
        ),
        "svg2": Change(
            renamed={**MOST, "least": "min_share"},
            differs=lambda values, made: True,
            reason="numbered clusters in the order they were found",
        ),
        "vmoba": Change(
            renamed=MOST, differs=lambda values, made: True, reason="cut chunks of 64 tokens, unlike its source"
        ),
        "freelong": Change(
            renamed={"window": "near"},
            differs=_freelong,
            reason="could begin with the same noise twice in the last window, or assumed another training length",
        ),
        "sliding-tile": Change(renamed=MOST),
        "svg": Change(renamed=MOST),
        "radial": Change(defaults={"decay": "1.0"}, renamed=MOST),
        "sparge": Change(defaults=FIRST_FRAME, renamed=MOST),
        "threshold": Change(defaults=FIRST_FRAME, renamed=MOST),
        "freenoise": Change(
            differs=_freenoise,
            completed=_freenoise_window,
            reason="could begin with the same noise twice in the last window, did not restart positions in each "
            "window, or counted frames that share a token separately",
        ),
    }
}
"""By schema and plug-in."""


def texts_today(texts: list[Any], schema: int, made: Made) -> list[Any]:
    """Translate the plug-in texts of a recipe of ``schema``; anything else in the list stays unchanged."""
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
    except (UsageError, ValueError):  # not written by genkit: its reader refuses it
        return text
    added = {key: value for key, value in change.defaults.items() if key not in values}
    values = {change.renamed.get(key, key): value for key, value in values.items()} | added
    return join_text(name, {**values, **change.completed(values, made)})


def seed_today(seed: Any, schema: int) -> Any:
    """Return the seed that draws today what ``seed`` drew in a recipe of ``schema``."""
    return seed % SEEDS_1 if schema == 1 and type(seed) is int and seed >= SEEDS_1 else seed


LAYERS: Mapping[str, Mapping[str, str]] = {
    "radial": {"sink": "first_frame", "block_rule": "rule"},
    "svg2": {"least": "min_share"},
}
"""Renamed layer fields of budgets of release 0.1.0, by method."""


def layer_today(method: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Translate a budget's settings of a layer: new names, and the densest settings as valid numbers."""
    found = {LAYERS.get(method, {}).get(name, name): value for name, value in fields.items()}
    if method == "adaspa" and found.get("recall", 0) is None:
        del found["recall"]
    if method == "threshold" and found.get("tau") == -math.inf:
        found["tau"] = -1000.0
    if method == "vmoba" and type(found.get("threshold")) is float:
        found["threshold"] = min(found["threshold"], 1.0)
    return found


def check_parameter(name: str, key: str) -> None:
    """Raise ``UsageError`` for a parameter that was renamed."""
    for changes in CHANGES.values():
        if key in (renamed := changes.get(name, Change()).renamed):
            raise UsageError(f"{name} no longer has a parameter {key!r}; it is called {renamed[key]!r} now")


def check_name(name: str) -> None:
    """Raise ``UsageError`` for a plug-in ``name@schema`` that is no longer available, with the reason."""
    bare, at, number = name.partition("@")
    schema = int(number) if number.isdecimal() else 0
    change = CHANGES.get(schema, {}).get(bare)
    if at and change is not None:
        raise UsageError(
            f"{bare} of {RELEASES[schema]}, which made this video, {change.reason}; this release cannot make that "
            f"video again: choose today's method (--set plugins={bare}) or rerun it with that release"
        )
