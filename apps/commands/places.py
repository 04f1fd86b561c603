"""Where the results of a command go: checked before any work, and no file is replaced that genkit did not make."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from genkit.errors import GenkitError, UsageError
from genkit.files.whole import replacing
from genkit.record.visible import visible
from genkit.video.ours import check_ours
from genkit.video.rescue import kept
from genkit.video.targets import Target, write_whole


def place_for(path: Path, suffixes: Sequence[str], what: str, ours: Callable[[Path], bool]) -> Target:
    """Make sure, before any work is done, that ``path`` can be written.

    Args:
        path: what the user named.
        suffixes: the endings that its name may have.
        what: the kind of file, for the errors.
        ours: tells by the content whether genkit made the file that lies there.

    Returns:
        The target, which replaces what lies there now and nothing that comes there later.

    Raises:
        UsageError: the name has another ending, is a folder or somebody else's file, or nothing can be written there.
    """
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"cannot write {str(path)!r}: the name of a {what} must end in {' or '.join(suffixes)}")
    try:
        if path.is_dir():
            raise UsageError(f"cannot write {str(path)!r}: it is a folder; name a file in it")
        check_ours(path, ours, what)
        with replacing(path) as (part,):
            part.touch()
            part.unlink()  # a trial only: what is there stays as it is
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {error.strerror or error}; choose another place") from error
    return Target.as_it_is(path)


def put(target: Target, write: Callable[[Path], object], what: str) -> Path:
    """Write a finished result to its place, or keep it elsewhere where that fails; returns the path written.

    Args:
        target: from :func:`place_for`.
        write: makes the file under the name that it is given.
        what: the kind of file, for the messages.

    Raises:
        GenkitError: it could not be written there; the sentence says where it is kept.
    """
    try:
        path = write_whole(target, write)
    except OSError as error:
        where = kept(f"the {what}", lambda folder: write_whole(Target(folder / target.path.name, None), write))
        raise GenkitError(f"{str(target.path)!r} could not be written: {error.strerror or error}; {where}") from error
    tell_moved(path, target, what)
    return path


def tell_moved(path: Path, target: Target, what: str) -> None:
    """Say on standard error where a result is, if its name was taken meanwhile."""
    if path != target.path and target.replaces is not False:
        sentence = (
            f"genkit: another file came to {str(target.path)!r} meanwhile, so the {what} is saved as {str(path)!r}"
        )
        print(visible(sentence), file=sys.stderr)
