"""How a command ends that did not go well: one line on standard error and an exit code, never a traceback.

The traceback is shown as well where ``--debug`` stands among the words of the command, or GENKIT_DEBUG is set.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence

from cyclopts import CycloptsError, UnusedCliTokensError

from genkit.apps.terminal.signals import exit_code, said
from genkit.errors import GenkitError, UsageError, first_line, is_out_of_memory
from genkit.record.visible import visible

DEBUG, VARIABLE = "--debug", "GENKIT_DEBUG"


def without_debug(tokens: Sequence[str]) -> tuple[list[str], bool]:
    """Return the words of a command without ``--debug``, and whether it was there or the variable is set.

    What stands behind a lone ``--`` is left as it is.
    """
    end = list(tokens).index("--") if "--" in tokens else len(tokens)
    words = [token for token in tokens[:end] if token != DEBUG]
    asked = len(words) < end or os.environ.get(VARIABLE, "0") not in ("", "0")
    return [*words, *tokens[end:]], asked


def ended_by(error: BaseException, debug: bool) -> int:
    """Say what ended a command, and return its exit code; ``SystemExit`` is passed on."""
    if isinstance(error, SystemExit):
        raise error
    if isinstance(error, BrokenPipeError):  # the reader of a pipe, such as `head`, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if debug:
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        _say_stopped()
        return exit_code(error)
    sentence, code = _said(error)
    print(f"genkit: {visible(sentence.strip().replace(chr(10), ' '))}", file=sys.stderr)
    return code


def _say_stopped() -> None:
    """Say so, where there is still somebody to say it to: after SIGHUP the terminal is gone."""
    try:
        print(said(), file=sys.stderr, flush=True)
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in (sys.stdout, sys.stderr):
                os.dup2(nowhere, stream.fileno())


def _said(error: BaseException) -> tuple[str, int]:
    if isinstance(error, UnusedCliTokensError):
        extra = " ".join(map(repr, error.unused_tokens or ()))
        return f"{extra} cannot be placed; put a text of several words in quotes", 2
    if isinstance(error, CycloptsError | UsageError):
        return str(error), 2
    if isinstance(error, GenkitError):
        return str(error), 1
    return _unexpected(error), 1


def _unexpected(error: BaseException) -> str:
    """A sentence for what nobody foresaw."""
    what = f"{type(error).__name__}: {first_line(error)}"
    if is_out_of_memory(error):
        return f"the memory is full ({what}); make fewer frames or a smaller video, or close other programs"
    if isinstance(error, OSError):
        return f"{what}; the system refused it, so nothing more was done"
    if isinstance(error, ImportError):
        return f"{what}; a package is missing or does not fit, and `genkit doctor` says which"
    return f"{what}; this is a fault in genkit: --debug shows where, please report it"
