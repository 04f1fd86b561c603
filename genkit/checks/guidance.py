"""Guidance by one word: the argument that a pipeline has, or the scale of its guider, or a sentence that says which."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from genkit.checks.arguments import arguments_of, default_of
from genkit.checks.values import quote
from genkit.errors import UsageError

WORD = "guidance_scale"
SCALES = frozenset({
    WORD, "guidance_scale_2", "true_cfg_scale", "min_guidance_scale", "max_guidance_scale", "audio_guidance_scale",
})  # fmt: skip
"""Arguments of pipelines that set the strength of guidance."""


def split_guidance(pipe: Any, asked: dict[str, Any]) -> tuple[dict[str, Any], float | None]:
    """Return the arguments of the call, and the scale for the guider of a pipeline that has one; None without.

    Raises:
        UsageError: a scale that this pipeline does not take; the message says which it does.
    """
    accepted = arguments_of(pipe)
    strange = next((name for name in asked if name in SCALES and name not in accepted), None)
    if strange is None:
        return asked, None
    if strange == WORD and hasattr(getattr(pipe, "guider", None), WORD):
        return {name: value for name, value in asked.items() if name != WORD}, asked[WORD]
    raise UsageError(
        f"{type(pipe).__name__} has no argument {strange!r} (given {quote(asked[strange])}); {_instead(pipe, accepted)}"
    )


@contextmanager
def guided(pipe: Any, scale: float | None) -> Iterator[None]:
    """Give the guider of a pipeline another scale inside the block; None leaves it as it is."""
    if scale is None:
        yield
        return
    before = getattr(pipe.guider, WORD)
    setattr(pipe.guider, WORD, scale)
    try:
        yield
    finally:
        setattr(pipe.guider, WORD, before)


def idle_negative(pipe: Any, arguments: dict[str, Any], scale: float | None) -> str | None:
    """Return a sentence if the negative prompt of a call is not read, as nothing guides away from it; else None."""
    name = "true_cfg_scale" if "true_cfg_scale" in arguments_of(pipe) else WORD
    value = scale if scale is not None else arguments.get(name, default_of(pipe, name))
    if not arguments.get("negative_prompt") or value != 1 or arguments.get("guidance_scale_2"):
        return None
    return f"the negative prompt has no effect at {name}=1; it needs more"


def _instead(pipe: Any, accepted: set[str]) -> str:
    known = sorted(SCALES & accepted)
    if hasattr(getattr(pipe, "guider", None), WORD):
        known.append(WORD)
    if not known:
        return "its model is distilled and takes no guidance, so leave it out"
    return f"its guidance is set by {' and '.join(known)}"
