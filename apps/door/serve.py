"""Server of the page: for this machine only, unless another address is given and protected by a password."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genkit.apps.door.accounts import SignIns, check_access
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
"""Bytes that a form adds around a file."""
UPLOADS_TOGETHER, UPLOADS_AT_ONCE, UPLOAD_KEPT = 8, 3, 1800.0
"""Uploads that may be stored, those that may arrive concurrently, and seconds that one is kept."""
LAST_PORT = 65535
TABS = 400
"""Tabs whose state is remembered, half a megabyte each; beyond that the tab idle for longest starts over."""
WAITING_EVENTS = 50
"""Clicks that may wait; jobs have their own queue."""
NOBODY = "\0"
"""Account of a request without one, if accounts exist: it owns no job."""


def serve(host: str, port: int | None, output: Path, auth: Path | None, allowed: Sequence[str] = ()) -> int:
    """Serve the page until it is interrupted.

    Args:
        host: address to listen on.
        port: None takes the first free one from 7860.
        output: folder of the videos; the page serves the videos made by it, and nothing else.
        auth: file with one ``name:password`` line per person who may use the page; None lets everyone in.
        allowed: additional names that the page goes by, such as that of a proxy.

    Raises:
        UsageError: an open address without ``auth``, or an argument that cannot be used.
    """
    accounts = check_access(host, auth)
    if port is not None and not 0 <= port <= LAST_PORT:
        raise UsageError(f"--port {port} must be a whole number from 0, which takes any free port, to {LAST_PORT}")
    Names(host, allowed)
    os.umask(0o077)
    with orderly_end(for_good=False):
        store = Store(output)
        with isolate(), Keeper(store) as keeper:
            page = launch(store, keeper, host, port, accounts, allowed)
            print(f"{page.local_url}: the page; videos are saved in {store.folder}; Ctrl-C ends it", flush=True)
            try:
                while page.is_running:
                    time.sleep(0.1)
            except KeyboardInterrupt as error:
                print("genkit: the page is closed", file=sys.stderr)
                return exit_code(error)
    return 0


_served: list[Any] = []
"""Servers that were launched and are not closed yet."""


@contextmanager
def isolate() -> Iterator[Path]:
    """Work in an empty folder, because Gradio serves any file of the working folder, and turn off its telemetry."""
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
                _served.pop().close()  # before the folder it writes to is removed
            with contextlib.suppress(OSError):  # it may no longer exist
                os.chdir(before)


def launch(
    store: Store,
    keeper: Keeper,
    host: str,
    port: int | None,
    accounts: list[tuple[str, str]] | None = None,
    allowed: Sequence[str] = (),
) -> Any:
    """Start the page in a thread of its own and return its server; must be called inside :func:`isolate`.

    Returns:
        The `genkit.apps.door.server.Server`.

    Raises:
        UsageError: Gradio is missing, or the address cannot be used.
    """
    try:
        import gradio  # noqa: F401 - for the message if it is missing
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
    """Gradio's application inside ours, and the function that finds the account in a request's cookies."""
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
    page.has_launched = True  # until it is, Gradio copies any path of this machine that is sent in place of an upload
    gr.mount_gradio_app(
        app, page, "/", auth=accounts, allowed_paths=[], blocked_paths=[str(store.folder)],
        max_file_size=LARGEST_UPLOAD, show_error=False, enable_monitoring=False, run_history=False, ssr_mode=False,
        mcp_server=False, pwa=False, footer_links=[], css=CSS, theme=theme(),
    )  # fmt: skip
    page.config["connect_heartbeat"] = False  # it would occupy one of a browser's six connections
    sign_ins = SignIns(app.routes[-1].app)  # type: ignore[attr-defined]
    return app, sign_ins.user_of


def _bytes(size: str) -> int:
    return int(size[:-2]) * UNITS[size[-2:]]
