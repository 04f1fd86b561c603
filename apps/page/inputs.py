"""Fields for images and videos, which appear with a model that takes them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genkit.apps.jobs import models
from genkit.apps.jobs.inputs import MOVING, is_inside, kind_of
from genkit.errors import UsageError
from genkit.inputs.words import WORDS

FIELDS = ("image", "last_image", "video", "mask", "reference")
"""Words that the page has a field for."""
MOST = 8
"""Max images of one field that takes several."""
KINDS = {"image": "PNG, JPEG or WebP", "video": "MP4, WebM or GIF", "mask": "image or a video"}
"""Kinds of files, in words, by the form of an input; a list of images has that of an image."""


def read_input(values: Mapping[str, Any], key: str) -> Any:
    """Return the uploaded file of a field, a list of them where it takes several, or None.

    Raises:
        UsageError: the model does not take it or needs it, or the file is of a kind that the page does not take.
    """
    model = str(values.get("model") or "tiny")
    offer, title = models.offer_of(model), models.card_of(model).title
    given = _paths(values.get(key))
    if given and key not in offer.takes:
        raise UsageError(f"{title} takes no {_noun(key)}; remove it, or choose another model")
    if not given:
        if key in offer.needs:
            raise UsageError(f"{title} makes a video from a given {_noun(key)}; choose one")
        return None
    several = WORDS[key].form == "images"
    if len(given) > (MOST if several else 1):
        raise UsageError(f"{len(given)} files were given for {_noun(key)}, and it takes {MOST if several else 1}")
    for path in given:
        _check_kind(key, path)
    return [str(path) for path in given] if several else str(given[0])


def read_resize(values: Mapping[str, Any], key: str) -> str | None:
    """Return how images of another shape are resized; None if the model takes none, or it was left alone."""
    offer = models.offer_of(str(values.get("model") or "tiny"))
    return str(values.get(key) or "") or None if offer.takes else None


def uploads() -> Path:
    """Return the folder of uploaded files, which contains every file that a request may name."""
    return Path(os.environ.get("GRADIO_TEMP_DIR") or os.devnull)


def _paths(value: Any) -> list[Path]:
    several = value if isinstance(value, list | tuple) else [value]
    return [Path(str(one)) for one in several if one]


def _check_kind(key: str, path: Path) -> None:
    if not (is_inside(path, uploads()) and path.is_file()):
        raise UsageError("this file is no longer there; choose it again")
    kind, form = kind_of(path), WORDS[key].form
    moves = kind in MOVING
    if kind is None or (form in ("image", "images") and moves and kind != "gif") or (form == "video" and not moves):
        raise UsageError(f"this is not a file for {_noun(key)}; give {_kinds(form)}")


def _kinds(form: str) -> str:
    return f"an {KINDS[form]}" if form == "mask" else f"a {KINDS.get(form, KINDS['image'])} file"


def _noun(key: str) -> str:
    return {"reference": "reference image"}.get(key, key.replace("_", " "))
