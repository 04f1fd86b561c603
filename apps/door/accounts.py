"""Accounts: the file of names and passwords, and the browsers that are signed in."""

import ipaddress
import os
import stat
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from genkit.errors import UsageError
from genkit.record.visible import visible

SIGNED_IN = 86400.0
"""Seconds until an idle browser is signed out; an open tab is never idle."""


class SignIns:
    """Accounts of signed-in browsers, on top of Gradio's own, dropped when unused."""

    def __init__(self, inner: Any) -> None:
        """``inner`` is Gradio's application."""
        self._inner = inner
        self._seen: dict[str, float] = {}

    def user_of(self, cookies: dict[str, str]) -> str | None:
        """Return the account in a request's cookies; None if there is none, or it was idle for too long."""
        tokens, now = self._inner.tokens, time.monotonic()
        for name in (f"access-token-{self._inner.cookie_id}", f"access-token-unsecure-{self._inner.cookie_id}"):
            token = cookies.get(name, "")
            if token in tokens:
                if now - self._seen.get(token, now) <= SIGNED_IN:
                    self._seen[token] = now
                    return str(tokens[token])
                del tokens[token], self._seen[token]
        return None


def check_access(host: str, auth: Path | None) -> list[tuple[str, str]] | None:
    """Return names and passwords; None if no password is needed.

    Raises:
        UsageError: other machines could reach the page without a password, or ``auth`` cannot be read.
    """
    if auth is None:
        if not _is_local(host):
            raise UsageError(
                f"--host {host} opens the page to other machines, so it needs --auth FILE, "
                "a file with one name:password line per person; or omit --host"
            )
        return None
    try:
        lines = [line for line in auth.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--auth {str(auth)!r} cannot be read: {error}") from error
    accounts = [(name.strip(), word) for name, _, word in (line.partition(":") for line in lines)]
    if not accounts or not all(name.isprintable() and name and word.strip() for name, word in accounts):
        raise UsageError(f"--auth {str(auth)!r} must contain at least one line, each of the form name:password")
    twice = [name for name, count in Counter(name for name, _ in accounts).items() if count > 1]
    if twice:
        raise UsageError(f"--auth {str(auth)!r} has more than one line for {twice[0]!r}; keep one")
    _warn_of_readers(auth)
    return accounts


def _warn_of_readers(auth: Path) -> None:
    """Warn if other users of this machine can read the passwords."""
    mode = auth.stat().st_mode
    if os.name == "posix" and stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
        place = visible(repr(str(auth)))
        print(f"genkit: --auth {place} can be read by others on this machine; chmod 600 it", file=sys.stderr)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
