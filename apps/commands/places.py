"""Output paths of commands: checked before any work; only files that genkit made are replaced."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from genkit.errors import GenkitError, UsageError
from genkit.files.whole import replacing
from genkit.record.visible import visible
from genkit.video.ours import check_ours
from genkit.video.rescue import rescue
from genkit.video.targets import Target, write_whole


def place_for(path: Path, suffixes: Sequence[str], what: str, ours: Callable[[Path], bool]) -> Target:
    """Check, before any work is done, that ``path`` can be written.

    Args:
        path: the path that the user named.
        suffixes: accepted file name endings.
        what: the kind of file, for error messages.
        ours: returns True if genkit made the existing file, judged by its content.

    Returns:
        The target, which replaces the file that exists now but none that appears later.

    Raises:
        UsageError: the ending is wrong, the path is a folder or a file that genkit did not make, or it cannot be
            written.
    """
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"cannot write {str(path)!r}: the name of a {what} must end in {' or '.join(suffixes)}")
    try:
        if path.is_dir():
            raise UsageError(f"cannot write {str(path)!r}: it is a folder; name a file in it")
        check_ours(path, ours, what)
        with replacing(path) as (part,):
            part.touch()
            part.unlink()  # only a trial: an existing file is untouched
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {error.strerror or error}; choose another place") from error
    return Target.as_it_is(path)


def put(target: Target, write: Callable[[Path], object], what: str) -> Path:
    """Write a finished result to its place, or save it elsewhere if that fails; return the path written.

    Args:
        target: from :func:`place_for`.
        write: creates the file under a given path.
        what: the kind of file, for messages.

    Raises:
        GenkitError: it could not be written there; the message says where it was saved instead.
    """
    try:
        path = write_whole(target, write)
    except OSError as error:
        where = rescue(f"the {what}", lambda folder: write_whole(Target(folder / target.path.name, None), write))
        raise GenkitError(f"{str(target.path)!r} could not be written: {error.strerror or error}; {where}") from error
    report_moved(path, target, what)
    return path


def report_moved(path: Path, target: Target, what: str) -> None:
    """Report on standard error where a result was saved, if its name was taken in the meantime."""
    if path != target.path and target.replaces is not False:
        sentence = f"genkit: another file has appeared at {str(target.path)!r}, so the {what} is saved as {str(path)!r}"
        print(visible(sentence), file=sys.stderr)
