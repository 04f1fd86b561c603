"""Files that users name: ``[COMPONENT=]FILE`` with a part of a model, ``[COMPONENT=]FILE[:WEIGHT]`` with a LoRA."""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genkit.checks.values import quote
from genkit.errors import UsageError

WEIGHTS = (".safetensors", ".gguf")
"""Endings of files of weights that are opened."""
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
"""Endings of files that may run code when they are opened, and are not."""
_FORM = re.compile(r"(?:(?P<component>[a-z][a-z0-9_]*)=)?(?P<path>.*?\.\w+)(?::(?P<weight>[^\\/]*))?", re.DOTALL)


@dataclass(frozen=True)
class NamedFile:
    """A file, and the part of the model that it is for."""

    path: Path
    component: str | None = None
    """Name of the part; None is the denoising model."""
    weight: float = 1.0
    """Factor of a LoRA; 0 is none of it."""

    def __str__(self) -> str:
        part = f"{self.component}=" if self.component else ""
        return f"{part}{self.path}" + (f":{self.weight:g}" if self.weight != 1 else "")


def is_weights(model: Any) -> bool:
    """Return True if a model is named by a file of weights, whether or not it exists."""
    return Path(str(model)).suffix.lower() in (*WEIGHTS, *PICKLES) and not Path(str(model)).is_dir()


def read_loras(given: Any) -> tuple[NamedFile, ...]:
    """Return the LoRA files of ``"FILE"``, ``"FILE:0.8"`` or a list of them, each of which exists.

    Raises:
        UsageError: one is of another form, its weight is not a number, or there is no such file.
    """
    return _each("lora", given, _read_lora)


def read_weights(given: Any) -> tuple[NamedFile, ...]:
    """Return the files of ``"FILE"``, ``"transformer_2=FILE"`` or a list of them, each of which exists.

    Raises:
        UsageError: one is of another form, two are for one part, or there is no such file.
    """
    return _each("weights", given, _read_weights)


def as_texts(name: str, given: Any) -> tuple[str, ...]:
    """Return one path or text, or a list of them, as texts; raise ``UsageError`` for anything else."""
    several = [given] if isinstance(given, str | Path) else given
    if not isinstance(several, list | tuple) or not all(isinstance(one, str | Path) for one in several):
        raise UsageError(f"{name}={quote(given)} must be the name of a file, or a list of them")
    return tuple(map(str, several))


def _each(name: str, given: Any, read: Callable[[str], NamedFile]) -> tuple[NamedFile, ...]:
    files = tuple(map(read, as_texts(name, () if given is None else given)))
    _check_once(name, [(file.component, file.path) if name == "lora" else file.component for file in files])
    return files


def _check_once(name: str, keys: Iterable[Any]) -> None:
    seen = set[Any]()
    for key in keys:
        if key in seen:
            part = key or "the denoising model" if not isinstance(key, tuple) else str(key[1])
            raise UsageError(f"{name} names {quote(part)} twice; give one file for it")
        seen.add(key)


def _read_lora(text: str) -> NamedFile:
    form = _matched("lora", text, "FILE.safetensors, FILE.safetensors:0.8 or transformer_2=FILE.safetensors")
    path = _existing("lora", form, (".safetensors",))
    return NamedFile(path, form["component"], _weight(text, form["weight"]))


def _read_weights(text: str) -> NamedFile:
    form = _matched("weights", text, "FILE.safetensors, FILE.gguf or transformer_2=FILE.gguf")
    if form["weight"] is not None:
        raise UsageError(f"weights={text!r}: only a LoRA has a weight behind a colon; remove {form['weight']!r}")
    return NamedFile(_existing("weights", form, WEIGHTS), form["component"])


def _matched(name: str, text: str, forms: str) -> re.Match[str]:
    if (form := _FORM.fullmatch(text.strip())) is None:
        raise UsageError(f"{name}={quote(text)} is not a file of weights; write {forms}")
    return form


def _existing(name: str, form: re.Match[str], endings: tuple[str, ...]) -> Path:
    path = Path(form["path"]).expanduser()
    if path.suffix.lower() in PICKLES:
        raise UsageError(
            f"{name}={str(path)!r} may run code when it is opened; convert it to .safetensors, which cannot"
        )
    if path.suffix.lower() not in endings:
        raise UsageError(f"{name}={str(path)!r} must end in {' or '.join(endings)}")
    if not path.is_file():
        raise UsageError(f"{name}={str(path)!r}: there is no such file; check the path")
    return path


def _weight(text: str, weight: str | None) -> float:
    try:
        number = 1.0 if weight is None else float(weight)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"lora={quote(text)}: the weight {weight!r} is not a number; write FILE:0.8")
    return number
