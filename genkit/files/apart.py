"""Reading the header of an untrusted file, in a process that can be killed."""

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from genkit.errors import UsageError
from genkit.files.decode import Header, read_header

HEADER_SECONDS = 20.0
"""Time limit of :func:`read_header_apart`; a good file takes less than a second."""
PROGRAM = "import sys; sys.path[:] = sys.argv[2:]; from genkit.files.apart import _answer; _answer()"
HEADER_MEMORY = 2**32
"""Memory limit of :func:`read_header_apart`'s process, in bytes."""


def read_header_apart(path: Path, seconds: float = HEADER_SECONDS) -> Header:
    """Read the header of an untrusted file, in a process of its own.

    The process is killed after ``seconds``, has 4 GiB of memory (where the system can limit it), starts in an empty
    folder and writes nothing: whatever the file does to FFmpeg, the caller continues.

    Raises:
        UsageError: as :func:`read_header`; it takes too long; or FFmpeg crashed on it.
    """
    # Isolated, so that nothing is imported from the working directory, which may be a folder of data.
    command = [sys.executable, "-I", "-c", PROGRAM, str(path.absolute()), *_import_path()]
    with tempfile.TemporaryDirectory() as empty:
        try:
            done = subprocess.run(command, cwd=empty, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise UsageError(
                f"{str(path)!r} was abandoned after {seconds:g} s: a good video opens in less than one; check the file"
            ) from error
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        raise UsageError(f"{str(path)!r} cannot be read: FFmpeg crashed on it (exit {done.returncode})") from error
    if "refused" in answer:
        raise UsageError(answer["refused"])
    return Header(**answer)


def _answer() -> None:
    """Entry point of :func:`read_header_apart`'s process."""
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
    """Import path of this process, without its working directory, which may be a folder of data."""
    return [str(Path(place).absolute()) for place in sys.path if place]
