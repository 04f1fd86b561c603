"""Reading the header of a file that a stranger has sent, in a process that can be ended."""

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from genkit.errors import UsageError
from genkit.files.decode import Header, read_header

HEADER_SECONDS = 20.0
"""Time that :func:`read_header_apart` gives a file; a good one takes less than a second."""
PROGRAM = "import sys; sys.path[:] = sys.argv[2:]; from genkit.files.apart import _answer; _answer()"
HEADER_MEMORY = 2**32
"""Bytes of memory that the process of :func:`read_header_apart` may take."""


def read_header_apart(path: Path, seconds: float = HEADER_SECONDS) -> Header:
    """Read the header of a file that a stranger has sent, in a process of its own.

    The process is ended after ``seconds``, has 4 GiB of memory (where the system can limit it), starts in an empty
    folder and writes nothing: whatever the file does to FFmpeg, the caller goes on.

    Raises:
        UsageError: as :func:`read_header`; it takes too long; or FFmpeg broke down on it.
    """
    # Isolated, so that nothing is imported from the working directory, which may be a folder of data.
    command = [sys.executable, "-I", "-c", PROGRAM, str(path.absolute()), *_import_path()]
    with tempfile.TemporaryDirectory() as empty:
        try:
            done = subprocess.run(command, cwd=empty, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise UsageError(
                f"{str(path)!r} was given up after {seconds:g} s: a good video is opened in less than one"
            ) from error
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        raise UsageError(f"{str(path)!r} cannot be read: FFmpeg broke down on it (exit {done.returncode})") from error
    if "refused" in answer:
        raise UsageError(answer["refused"])
    return Header(**answer)


def _answer() -> None:
    """What the process of :func:`read_header_apart` does."""
    try:
        import resource
    except ImportError:  # not on Windows
        pass
    else:
        resource.setrlimit(resource.RLIMIT_AS, (HEADER_MEMORY, HEADER_MEMORY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        answer = asdict(read_header(Path(sys.argv[1])))
    except UsageError as error:
        answer = {"refused": str(error)}
    print(json.dumps(answer))


def _import_path() -> list[str]:
    """Where this process imports from; not its working directory, which may be a folder of data."""
    return [str(Path(place).absolute()) for place in sys.path if place]
