"""The recipe that travels with a video: its request and receipt as JSON, in the file and beside it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from genkit.errors import UsageError
from genkit.files.container import COMMENT_CHARACTERS
from genkit.files.decode import Header
from genkit.files.whole import sidecar_path
from genkit.plugins.earlier import Made, seed_today, texts_today
from genkit.record.receipt import Receipt
from genkit.record.versions import version_of
from genkit.record.visible import visible

SCHEMA_VERSION = 2
"""Schema of written recipes; all from 1 on are read, with the original meaning of their plug-ins (``earlier``)."""
GENERATOR = "genkit-video"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""The IPTC term for media made by a trained model."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything needed to make a video again, and a record of how it was made."""

    request: dict[str, Any]
    """The request, in JSON values."""
    receipt: Receipt | None
    """Record of the run; None if the video was not generated."""
    file: dict[str, Any]
    """Settings of the exporter: size, frames, fps, quality, whole enlargement, repeated last rows and columns."""

    def to_json(self, indent: int | None = None) -> str:
        """Return the recipe as JSON text that every container can store.

        Raises:
            UsageError: the request contains a value that JSON cannot represent.
        """
        receipt = None if self.receipt is None else self.receipt.model_dump(mode="json")
        try:
            text = json.dumps(
                _envelope() | {"request": self.request, "receipt": receipt, "file": self.file},
                ensure_ascii=False,
                allow_nan=False,
                indent=indent,
            )
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"the request of the video cannot be stored as JSON: {error}") from error
        # Bytes of the command line that are not Unicode arrive as lone surrogates; escaped, they survive.
        return text.encode("utf-8", "backslashreplace").decode()

    def title(self) -> str:
        """Return a short line for players: the beginning of the prompt."""
        prompt = self.request.get("prompt")
        line = " ".join(prompt.split()) if isinstance(prompt, str) else ""
        shown = line if len(line) <= 80 else line[:77] + "..."
        return shown.encode("utf-8", "replace").decode() or "a generated video"


def recipe_of(path: Path, header: Header) -> Recipe:
    """Return the recipe of a video from the comment tag in its ``header``, else from the JSON beside it.

    Raises:
        UsageError: not made by genkit, made by a version with another schema, or damaged.
    """
    data = _parse_envelope(header.comment)
    if data is None and (beside := sidecar_path(path)).is_file():
        data = _parse_envelope(beside.read_text("utf-8-sig", errors="replace"))
        data = data if data is not None and _describes(data, header) else None
    if data is None:
        raise UsageError(
            f"{str(path)!r} contains no genkit recipe, and there is no matching one beside it; "
            "it comes from another tool, was saved without metadata or lost it on the way"
        )
    return _parse(path, data)


def is_recipe(path: Path) -> bool:
    """Return True if ``path`` is a recipe that was written beside a video."""
    small = path.is_file() and path.stat().st_size <= COMMENT_CHARACTERS
    return small and _parse_envelope(path.read_text("utf-8-sig", errors="replace")) is not None


def has_recipe(header: Header) -> bool:
    """Return True if a video contains a recipe of genkit, of this version or another."""
    return _parse_envelope(header.comment) is not None


def _envelope() -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "generator": f"{GENERATOR} {version_of(GENERATOR) or 'of unknown version'}",
        "digitalSourceType": SOURCE_TYPE,
    }


def _parse_envelope(text: str) -> dict[str, Any] | None:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    named = isinstance(data, dict) and str(data.get("generator", "")).split(" ")[0] == GENERATOR
    return data if named else None


def _describes(data: dict[str, Any], header: Header) -> bool:
    """True if a recipe beside a video belongs to it: size and, if the header states it, length agree."""
    file = data.get("file")
    known = {"height": header.height, "width": header.width} | ({"frames": header.frames} if header.frames else {})
    return isinstance(file, dict) and all(file.get(key) == value for key, value in known.items())


def _parse(path: Path, data: dict[str, Any]) -> Recipe:
    found = data.get("schema_version")
    if type(found) is not int or not 1 <= found <= SCHEMA_VERSION:
        raise UsageError(
            f"the recipe in {str(path)!r} has schema version {found!r} (written by {visible(data['generator'])}), "
            f"but this installation reads versions 1 to {SCHEMA_VERSION}; use that release"
        )
    request, receipt, file = (data.get(key) for key in ("request", "receipt", "file"))
    if not isinstance(request, dict) or not isinstance(file, dict):
        raise UsageError(f"the recipe in {str(path)!r} is damaged: it has no request")
    try:
        ran = None if receipt is None else Receipt.model_validate(receipt)
        return Recipe(request=_in_todays_terms(request, found, ran), receipt=ran, file=file)
    except ValidationError as error:
        problem = error.errors()[0]
        said = visible(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}")
        raise UsageError(f"the receipt in {str(path)!r} is damaged: {said}") from error


def _in_todays_terms(request: dict[str, Any], schema: int, receipt: Receipt | None) -> dict[str, Any]:
    """The request with its seed and its plug-ins in today's terms."""
    if schema == SCHEMA_VERSION:
        return request
    today = {"seed": seed_today(request["seed"], schema)} if "seed" in request else {}
    texts = request.get("plugins")
    if isinstance(texts, list):
        family, model = (None, request.get("model")) if receipt is None else (receipt.family, receipt.model)
        frames = request.get("num_frames") if receipt is None else receipt.frames
        made = Made(family=family, model=model, frames=frames if isinstance(frames, int) else None)
        today["plugins"] = texts_today(texts, schema, made)
    return request | today
