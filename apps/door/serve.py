"""Serve the page: on this machine only, unless more is asked for and guarded by a password."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genkit.apps.door.accounts import SignIns, checked_access
from genkit.apps.door.names import Names
from genkit.apps.jobs.keeper import Keeper
from genkit.apps.jobs.private import temporary_folder
from genkit.apps.jobs.store import Store
from genkit.apps.terminal.signals import exit_code, orderly_end
from genkit.errors import UsageError
from genkit_video import install_extra

LARGEST_UPLOAD = "64mb"
UNITS = {"kb": 2**10, "mb": 2**20, "gb": 2**30}
AROUND = 2**16
"""Bytes that a form has around a file."""
UPLOADS_TOGETHER, UPLOADS_AT_ONCE, UPLOAD_KEPT = 8, 3, 600.0
"""Uploads that may lie on this machine, those that may come in at the same time, and seconds that one is kept."""
LAST_PORT = 65535
TABS = 400
"""Tabs whose state is remembered, half a megabyte each; then the one that was silent longest begins anew."""
WAITING_EVENTS = 50
"""Clicks that may wait; jobs have a queue of their own."""
NOBODY = "\0"
"""The account of a request without one, where there are accounts: no job is its."""


def serve(host: str, port: int | None, output: Path, auth: Path | None, allowed: Sequence[str] = ()) -> int:
    """Serve the page until it is interrupted.

    Args:
        host: address to listen on.
        port: None takes the first free one from 7860 on.
        output: folder of the videos; the page gives those that it made, and nothing else.
        auth: file with a line ``name:password`` for each person who may use the page; None lets everyone in.
        allowed: further names that the page goes by, such as that of a proxy.

    Raises:
        UsageError: an open address without ``auth``, or an argument that cannot be used.
    """
    accounts = checked_access(host, auth)
    if port is not None and not 0 <= port <= LAST_PORT:
        raise UsageError(f"--port {port} must be a whole number from 0, which takes any that is free, to {LAST_PORT}")
    Names(host, allowed)
    os.umask(0o077)
    with orderly_end(for_good=False):
        store = Store(output)
        with isolated(), Keeper(store) as keeper:
            page = launched(store, keeper, host, port, accounts, allowed)
            print(f"{page.local_url}: the page; videos go to {store.folder}; Ctrl-C ends it", flush=True)
            try:
                while page.is_running:
                    time.sleep(0.1)
            except KeyboardInterrupt as error:
                print("genkit: the page is closed", file=sys.stderr)
                return exit_code(error)
    return 0


_served: list[Any] = []
"""What was launched and not closed yet."""


@contextmanager
def isolated() -> Iterator[Path]:
    """Work in an empty folder, because Gradio serves whatever lies in the working one, and report to nobody."""
    before = Path.cwd()
    with temporary_folder() as place:
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
            while _served:
                _served.pop().close()  # before what it writes to is removed
            with contextlib.suppress(OSError):  # it may be gone by now
                os.chdir(before)


def launched(
    store: Store,
    keeper: Keeper,
    host: str,
    port: int | None,
    accounts: list[tuple[str, str]] | None = None,
    allowed: Sequence[str] = (),
) -> Any:
    """The page, listening in a thread of its own; to be called inside ``isolated``.

    Returns:
        The `genkit.apps.door.server.Server`.

    Raises:
        UsageError: Gradio is missing, or the address cannot be used.
    """
    try:
        import gradio  # noqa: F401 - to tell a person who lacks it
    except ImportError as error:
        raise UsageError(f"the page needs Gradio ({error}); {install_extra('ui')}") from error
    from genkit.apps.door.body import Uploads
    from genkit.apps.door.gate import Door
    from genkit.apps.door.server import Server

    app, user_of = _application(store, keeper, accounts)
    largest = _bytes(LARGEST_UPLOAD) + AROUND
    uploads = Uploads(
        Path(os.environ["GRADIO_TEMP_DIR"]), largest, UPLOADS_TOGETHER * largest, UPLOADS_AT_ONCE, UPLOAD_KEPT
    )
    try:
        server = Server(Door(app, Names(host, allowed), uploads, user_of if accounts else None), host, port)
        _served.append(server)
        server.start()
    except OSError as error:
        raise UsageError(f"cannot listen on {host}, port {port or 'any from 7860 on'}: {error}") from error
    return server


def _application(store: Store, keeper: Keeper, accounts: list[tuple[str, str]] | None) -> tuple[Any, Any]:
    """Gradio's application with ours around it, and what finds the account in the cookies of a request."""
    import gradio as gr
    from fastapi import FastAPI

    from genkit.apps.page.build import build
    from genkit.apps.page.files import add_files
    from genkit.apps.page.style import CSS, theme

    def who(request: Any) -> str | None:
        return (sign_ins.user_of(request.cookies) or NOBODY) if accounts else None

    def account(request: gr.Request) -> str | None:
        return (request.username or NOBODY) if accounts else None

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_files(app, store, who)
    page = build(store, lambda: keeper.alive, account).queue(max_size=WAITING_EVENTS, api_open=False)
    page.state_session_capacity = TABS
    gr.mount_gradio_app(
        app, page, "/", auth=accounts, allowed_paths=[], blocked_paths=[str(store.folder)],
        max_file_size=LARGEST_UPLOAD, show_error=False, enable_monitoring=False, run_history=False, ssr_mode=False,
        mcp_server=False, pwa=False, footer_links=[], css=CSS, theme=theme(),
    )  # fmt: skip
    page.config["connect_heartbeat"] = False  # it would hold one of the six connections that a browser has
    sign_ins = SignIns(app.routes[-1].app)  # type: ignore[attr-defined]
    return app, sign_ins.user_of


def _bytes(size: str) -> int:
    return int(size[:-2]) * UNITS[size[-2:]]
