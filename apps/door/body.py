"""What a browser sends, bounded in size and time before anything of the page sees it."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
LINGERING, LINGERED = 1.0, 2**21
"""Seconds and bytes for which a request that was refused is listened to."""


@dataclass(frozen=True)
class Limit:
    """How much may be sent, and how long that may take."""

    size: int
    """Bytes."""
    seconds: float


class TooMuch(Exception):
    """A body breaks its limit; ``status`` is the answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Incoming:
    """What comes in of one request; knows whether all of it has."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self.over = receive, False

    async def __call__(self) -> Message:
        """The next piece."""
        message = await self._receive()
        self.over = self.over or message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Take in, and throw away, a little of what is still being sent: a connection that is closed in the middle of
        it would take the answer with it."""
        end, size = time.monotonic() + LINGERING, 0
        while not self.over and size < LINGERED:
            try:
                message = await asyncio.wait_for(self(), max(0.01, end - time.monotonic()))
            except asyncio.TimeoutError:
                return
            size += len(message.get("body", b""))


class Body:
    """The body of one request as it comes in; the callable that an application receives it by."""

    def __init__(self, receive: Receive, limit: Limit) -> None:
        self._receive, self._limit = receive, limit
        self._end, self._size, self._over = time.monotonic() + limit.seconds, 0, False
        self.broken: TooMuch | None = None

    async def next(self) -> Message:
        """The next piece.

        Raises:
            TooMuch: it comes too late, or there is too much of it.
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
        """The next piece; where a limit is broken, it looks as if the browser had gone."""
        try:
            return await self.next()
        except TooMuch as error:
            self.broken, self._over = error, True
            return {"type": "http.disconnect"}

    async def whole(self) -> Receive:
        """All of it, as something that gives it again at once.

        Raises:
            TooMuch: a limit is broken.
        """
        pieces: list[Message] = []
        while not self._over:
            pieces.append(await self.next())

        async def again() -> Message:
            return pieces.pop(0) if pieces else await self._receive()

        return again


class Uploads:
    """The folder of uploaded files: how many may come at once, and how much may lie there."""

    def __init__(self, folder: Path, each: int, room: int, at_once: int, kept: float) -> None:
        """
        Args:
            each: most bytes of one upload.
            room: most bytes of all that lie in ``folder``.
            at_once: uploads that may come in at the same time.
            kept: seconds after which a file is removed; each is read as soon as it is there.
        """
        self.folder, self.each, self.room, self.at_once, self.kept = folder, each, room, at_once, kept
        self.running = 0

    def check(self) -> None:
        """Make room for one more.

        Raises:
            TooMuch: too many come in, or too much lies there.
        """
        if self.running >= self.at_once:
            raise TooMuch(429, f"{self.running} files are being uploaded already; try again in a moment")
        if self._lying() + (self.running + 1) * self.each > self.room:
            raise TooMuch(413, "too many uploaded files lie on this machine; try again in some minutes")

    def _lying(self) -> int:
        """Bytes in the folder, after what is old was removed."""
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
                    continue  # somebody else removed it
        return found
