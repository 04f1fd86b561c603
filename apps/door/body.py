"""Request bodies, bounded in size and time before the page sees them."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
LINGER_SECONDS, LINGER_BYTES = 1.0, 2**21
"""Seconds and bytes for which a refused request is still read."""


@dataclass(frozen=True)
class Limit:
    """Largest size of a body, and the longest time it may take."""

    size: int
    """Bytes."""
    seconds: float


class TooMuch(Exception):
    """A body that exceeds its limit; ``status`` is the HTTP status of the answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Incoming:
    """Incoming messages of one request; knows if all have arrived."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self.over = receive, False

    async def __call__(self) -> Message:
        """The next message."""
        message = await self._receive()
        self.over = self.over or message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Discard a little of what is still being sent: closing the connection at once would lose the answer."""
        end, size = time.monotonic() + LINGER_SECONDS, 0
        while not self.over and size < LINGER_BYTES:
            try:
                message = await asyncio.wait_for(self(), max(0.01, end - time.monotonic()))
            except asyncio.TimeoutError:
                return
            size += len(message.get("body", b""))


class Body:
    """Body of one request as it arrives; callable as the ``receive`` of an ASGI application."""

    def __init__(self, receive: Receive, limit: Limit) -> None:
        self._receive, self._limit = receive, limit
        self._end, self._size, self._over = time.monotonic() + limit.seconds, 0, False
        self.broken: TooMuch | None = None

    async def next(self) -> Message:
        """Return the next message.

        Raises:
            TooMuch: it arrives too late, or the body is too large.
        """
        if self._over:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.01, self._end - time.monotonic()))
        except asyncio.TimeoutError:
            raise TooMuch(408, f"this took longer than {self._limit.seconds:g} seconds") from None
        self._size += len(message.get("body", b""))
        if self._size > self._limit.size:
            raise TooMuch(413, f"more than {self._limit.size} bytes were sent")
        self._over = not message.get("more_body", False)
        return message

    async def __call__(self) -> Message:
        """The next message; if a limit is exceeded, it looks as if the browser had disconnected."""
        try:
            return await self.next()
        except TooMuch as error:
            self.broken, self._over = error, True
            return {"type": "http.disconnect"}

    async def whole(self) -> Receive:
        """Read the whole body and return a ``receive`` that replays it.

        Raises:
            TooMuch: a limit is exceeded.
        """
        pieces: list[Message] = []
        while not self._over:
            pieces.append(await self.next())

        async def again() -> Message:
            return pieces.pop(0) if pieces else await self._receive()

        return again


class Uploads:
    """Folder of uploaded files: bounds concurrent uploads and total size."""

    def __init__(self, folder: Path, each: int, room: int, at_once: int, kept: float) -> None:
        """Set the limits of ``folder``.

        Args:
            each: max bytes of one upload.
            room: max bytes of all files in ``folder``.
            at_once: uploads that may arrive concurrently.
            kept: seconds after which a file is removed; files are read as soon as they arrive.
        """
        self.folder, self.each, self.room, self.at_once, self.kept = folder, each, room, at_once, kept
        self.running = 0

    def check(self) -> None:
        """Check that one more upload may start.

        Raises:
            TooMuch: too many uploads are arriving, or the folder is full.
        """
        if self.running >= self.at_once:
            raise TooMuch(429, f"{self.running} files are being uploaded already; try again in a moment")
        if self._stored_bytes() + (self.running + 1) * self.each > self.room:
            raise TooMuch(413, "the folder for uploads is full; try again in a few minutes")

    def _stored_bytes(self) -> int:
        """Bytes in the folder, after old files were removed."""
        found, oldest = 0, time.time() - self.kept
        for place, _, names in os.walk(self.folder):
            for name in names:
                path = Path(place, name)
                try:
                    about = path.lstat()
                    if about.st_mtime < oldest:
                        path.unlink()
                    else:
                        found += about.st_size
                except OSError:
                    continue  # removed by another thread
        return found
