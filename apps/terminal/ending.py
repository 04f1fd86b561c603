"""Ending of a failed command: one line on standard error and an exit code, never a traceback.

The traceback is also shown if the command contains ``--debug`` or GENKIT_DEBUG is set.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence

from cyclopts import CycloptsError, UnusedCliTokensError

from genkit.apps.terminal.signals import describe_stop, exit_code
from genkit.errors import GenkitError, UsageError, first_line, is_out_of_memory
from genkit.record.visible import visible

DEBUG, VARIABLE = "--debug", "GENKIT_DEBUG"


def without_debug(tokens: Sequence[str]) -> tuple[list[str], bool]:
    """Return the words of a command without ``--debug``, and True if it was there or the variable is set.

    Words after a lone ``--`` are left as they are.
    """
    end = list(tokens).index("--") if "--" in tokens else len(tokens)
    words = [token for token in tokens[:end] if token != DEBUG]
    asked = len(words) < end or os.environ.get(VARIABLE, "0") not in ("", "0")
    return [*words, *tokens[end:]], asked


def report_end(error: BaseException, debug: bool) -> int:
    """Print what ended a command and return its exit code; ``SystemExit`` is raised again."""
    if isinstance(error, SystemExit):
        raise error
    if isinstance(error, BrokenPipeError):  # the reader of a pipe, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if debug:
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        _say_stopped()
        return exit_code(error)
    sentence, code = _explain(error)
    print(f"genkit: {visible(sentence.strip().replace(chr(10), ' '))}", file=sys.stderr)
    return code


def _say_stopped() -> None:
    """Report the stop if anybody can still read it: after SIGHUP the terminal is gone."""
    try:
        print(describe_stop(), file=sys.stderr, flush=True)
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in (sys.stdout, sys.stderr):
                os.dup2(nowhere, stream.fileno())


def _explain(error: BaseException) -> tuple[str, int]:
    if isinstance(error, UnusedCliTokensError):
        extra = " ".join(map(repr, error.unused_tokens or ()))
        return f"{extra} cannot be placed; put a text of several words in quotes", 2
    if isinstance(error, CycloptsError | UsageError):
        return str(error), 2
    if isinstance(error, GenkitError):
        return str(error), 1
    return _explain_unexpected(error), 1


def _explain_unexpected(error: BaseException) -> str:
    """Sentence for an unexpected error."""
    what = f"{type(error).__name__}: {first_line(error)}"
    if is_out_of_memory(error):
        return f"out of memory ({what}); make fewer frames or a smaller video, or close other programs"
    if isinstance(error, OSError):
        return f"{what}; the system refused it, so nothing more was done"
    if isinstance(error, ImportError):
        return f"{what}; a package is missing or incompatible, and `genkit doctor` says which"
    return f"{what}; this is a bug in genkit: use --debug to see where, and please report it"
