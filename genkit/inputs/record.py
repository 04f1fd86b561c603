"""What a recipe stores of an input: the file and its SHA-256, or what a program gave; never the picture itself."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from genkit.checks.values import quote, text
from genkit.errors import UsageError

FILE, GIVEN, DIGEST = "file", "given", "sha256"
"""Keys of a record: the path as the user wrote it, or a description of what a program gave; and the SHA-256."""
CHUNK = 2**20


def flag_of(name: str) -> str:
    """Return the option of the command line for an input."""
    return f"--{name.replace('_', '-')}"


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            found.update(block)
    return found.hexdigest()


def check_file(name: str, path: Path) -> Path:
    """Return the path of a file that can be read.

    Raises:
        UsageError: there is none, or it is a folder or a device.
    """
    try:
        exists, is_file = path.exists(), path.is_file()
    except OSError as error:
        raise UsageError(f"{name}={str(path)!r} cannot be read: {error.strerror}") from None
    if not exists:
        raise UsageError(f"{name}={str(path)!r}: there is no such file; give another by {flag_of(name)} FILE")
    if not is_file:
        raise UsageError(f"{name}={str(path)!r} is not a file; give an image or a video")
    return path


def record_of_file(name: str, path: Path) -> dict[str, str]:
    """Return the record of a file."""
    return {FILE: str(path), DIGEST: digest_of(check_file(name, path))}


def record_of_bytes(what: str, parts: Iterable[bytes]) -> dict[str, str]:
    """Return the record of what a program gave: its description and the SHA-256 of its numbers."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return {GIVEN: what, DIGEST: found.hexdigest()}


def path_of(name: str, value: Any) -> Path:
    """Return the path of a file as a user or a recipe gives it: a text, a path or a record.

    Raises:
        UsageError: there is no such file, it is another than the one that the record was made of, or it was never one.
    """
    if not isinstance(value, Mapping):
        return check_file(name, Path(text(name, str(value))))
    if GIVEN in value:
        raise UsageError(
            f"{name} was given by a program ({value[GIVEN]}), and no file contains it; give it again by "
            f"{flag_of(name)} FILE"
        )
    path = check_file(name, Path(str(value[FILE])))
    if digest_of(path) != value.get(DIGEST):
        raise UsageError(
            f"{name}={str(path)!r} is not the file that the video was made with: its SHA-256 differs; give the former "
            f"one, or take this one by {flag_of(name)} {path}"
        )
    return path


def check_record(name: str, value: Any) -> Any:
    """Return an input of a request: a path as text, a record, or a list of them.

    Raises:
        UsageError: it is something else, such as an array, which only ``Handle.generate`` takes.
    """
    if isinstance(value, list | tuple) and value:
        return [check_record(name, item) for item in value]
    if isinstance(value, Mapping):
        keys = {key for key in value if isinstance(value[key], str)}
        if keys == set(value) and DIGEST in keys and len(keys) == 2 and keys & {FILE, GIVEN}:
            return dict(value)
    elif isinstance(value, str | Path) and str(value):
        return text(name, str(value))
    raise UsageError(f"{name}={quote(value)} must be the path of a file; images and arrays go to Handle.generate")
