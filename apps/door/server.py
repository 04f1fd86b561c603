"""HTTP server of the page, in a thread of its own."""

import asyncio
import socket
import threading
import time
from collections import Counter
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from genkit.apps.door.brake import network_of

FIRST_PORT, PORTS = 7860, 100
HEADER_SECONDS = 15.0
"""Seconds a browser may take to send the head of a request."""
HEADER_BYTES = 2**15
CONNECTIONS = 400
"""Max connections open at the same time; a browser opens at most six, however many tabs it has."""
SHARE = CONNECTIONS // 2
"""Max connections of one address."""
STALLED = 120.0
"""Seconds for which a client may stop reading an answer."""
STARTING = 60.0


class Prompt(H11Protocol):
    """Closes connections that are idle or stalled, so that nobody can occupy them all."""

    open: Counter[str] = Counter()
    """Connections by address."""
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._address = network_of((transport.get_extra_info("peername") or [""])[0])
        self.open[self._address] += 1
        if self.open[self._address] > SHARE:
            transport.abort()
        self._late = self.loop.call_later(HEADER_SECONDS, self._close_late)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._busy():
            self._late.cancel()
        elif self._late.cancelled():
            self._late = self.loop.call_later(HEADER_SECONDS, self._close_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._late.cancel()
        self._go_on()
        self.open[self._address] -= 1
        if not self.open[self._address]:
            del self.open[self._address]
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall = self.loop.call_later(STALLED, self.transport.abort)

    def resume_writing(self) -> None:
        self._go_on()
        super().resume_writing()

    def _go_on(self) -> None:
        if self._stall is not None:
            self._stall.cancel()

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _close_late(self) -> None:
        if not self._busy() and not self.transport.is_closing():
            self.transport.close()


class Server:
    """Serves an application until it is closed."""

    def __init__(self, app: Any, host: str, port: int | None) -> None:
        """Listen on ``host``; ``port`` None takes the first free one.

        Raises:
            OSError: it cannot listen there.
        """
        self._socket = _listen(host, port)
        self.server_name, self.server_port = host, int(self._socket.getsockname()[1])
        # Ignores a proxy's headers for address and name: anyone can write them.
        config = uvicorn.Config(
            app, http=Prompt, ws="none", lifespan="on", log_level="warning", proxy_headers=False, server_header=False,
            limit_concurrency=CONNECTIONS, h11_max_incomplete_event_size=HEADER_BYTES, timeout_graceful_shutdown=2,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    @property
    def local_url(self) -> str:
        """Address of the page for a browser on this machine."""
        name = "localhost" if self.server_name in ("", "0.0.0.0", "::") else self.server_name
        return f"http://{f'[{name}]' if ':' in name else name}:{self.server_port}/"

    def start(self) -> None:
        """Start the server; return once it answers.

        Raises:
            OSError: it does not start.
        """
        self._thread.start()
        end = time.monotonic() + STARTING
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > end:
                raise OSError("the server did not start")
            time.sleep(0.01)

    def close(self) -> None:
        """Stop the server and the requests it is answering."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(30)
        else:
            self._socket.close()

    @property
    def is_running(self) -> bool:
        """True while the server runs."""
        return self._thread.is_alive()


def _listen(host: str, port: int | None) -> socket.socket:
    """Socket on the first free port."""
    problem: OSError | None = None
    family, address = socket.getaddrinfo(host or None, port or 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][
        ::4
    ]
    for number in range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else [port]:
        try:
            dual = family == socket.AF_INET6 and address[0] == "::" and socket.has_dualstack_ipv6()
            return socket.create_server((address[0], number), family=family, backlog=128, dualstack_ipv6=dual)
        except OSError as error:
            problem = error
    raise problem or OSError("there is no free port")
