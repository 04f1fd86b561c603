"""Serve the page: on this machine only, unless more is asked for and guarded by a password."""

import ipaddress
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genkit.apps.jobs import Store
from genkit.apps.keeper import Keeper
from genkit.apps.signals import exit_code
from genkit.errors import UsageError
from genkit_video import install_extra

LARGEST_UPLOAD = "64mb"
WAITING_EVENTS = 50
"""Clicks that may wait; jobs have a queue of their own."""


def serve(host: str, port: int | None, output: Path, auth: Path | None) -> int:
    """Serve the page until it is interrupted.

    Args:
        host: address to listen on.
        port: None takes the first free one from 7860 on.
        output: folder of the videos, and the only one that the page shows.
        auth: file with a line ``name:password`` for each person who may use the page; None lets everyone in.

    Raises:
        UsageError: an open address without ``auth``, or an argument that cannot be used.
    """
    accounts = checked_access(host, auth)
    store = Store(output)
    with isolated(), Keeper(store) as keeper:
        page = launched(store, keeper, host, port, accounts)
        print(f"{page.local_url}: the page; videos go to {store.folder}; Ctrl-C ends it", flush=True)
        try:
            while page.is_running:
                time.sleep(0.1)
        except KeyboardInterrupt as error:
            print("genkit: the page is closed", file=sys.stderr)
            return exit_code(error)
    return 0


def checked_access(host: str, auth: Path | None) -> list[tuple[str, str]] | None:
    """Names and passwords; None if no password is needed.

    Raises:
        UsageError: other machines could reach the page without a password, or ``auth`` cannot be read.
    """
    if auth is None:
        if not _is_local(host):
            raise UsageError(
                f"--host {host} opens the page to other machines, so it needs --auth FILE, "
                "a file with a line name:password for each person; or leave --host out"
            )
        return None
    try:
        lines = [line for line in auth.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--auth {str(auth)!r} cannot be read: {error}") from error
    accounts = [(name.strip(), word) for name, _, word in (line.partition(":") for line in lines)]
    if not accounts or not all(name and word.strip() for name, word in accounts):
        raise UsageError(f"--auth {str(auth)!r} must hold lines of the form name:password, and at least one")
    return accounts


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def isolated() -> Iterator[Path]:
    """Work in an empty folder, because Gradio serves whatever lies in the working one, and report to nobody."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="genkit-page-") as place:
        empty, uploads = Path(place, "empty"), Path(place, "uploads")
        empty.mkdir()
        uploads.mkdir()
        os.environ |= {
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_TEMP_DIR": str(uploads),
            "GRADIO_SHARE": "False",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        os.chdir(empty)
        try:
            yield empty
        finally:
            os.chdir(before)


def launched(
    store: Store, keeper: Keeper, host: str, port: int | None, accounts: list[tuple[str, str]] | None = None
) -> Any:
    """The page, listening in a thread of its own; to be called inside ``isolated``.

    Raises:
        UsageError: Gradio is missing, or the address cannot be used.
    """
    try:
        import gradio  # noqa: F401 - to tell a person who lacks it
    except ImportError as error:
        raise UsageError(f"the page needs Gradio ({error}); {install_extra('ui')}") from error
    from genkit.apps.page import build
    from genkit.apps.page_style import CSS, theme

    page = build(store, lambda: keeper.alive).queue(max_size=WAITING_EVENTS)
    try:
        page.launch(
            server_name=host,
            server_port=port,
            share=False,
            auth=accounts,  # type: ignore[arg-type]  # a list of pairs, as its documentation says
            allowed_paths=[str(store.folder)],
            blocked_paths=[str(store.state)],
            max_file_size=LARGEST_UPLOAD,
            show_error=False,
            enable_monitoring=False,
            strict_cors=True,
            ssr_mode=False,
            quiet=True,
            prevent_thread_lock=True,
            footer_links=[],
            css=CSS,
            theme=theme(),
        )
    except OSError as error:
        raise UsageError(f"cannot listen on {host}, port {port or 'any from 7860 on'}: {error}") from error
    return page
