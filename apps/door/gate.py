"""Gate of the page: checks every request before it reaches a route, a password or a body."""

import re
from collections.abc import Callable
from typing import Any

from genkit.apps.door.body import Body, Incoming, Limit, Message, Receive, TooMuch, Uploads
from genkit.apps.door.brake import Brake
from genkit.apps.door.names import Names

Headers = dict[str, list[str]]
KNOWN = "genkit-known"
"""Cookie of a browser that has sent the right password."""
CALL, LOGIN, NOTHING = Limit(2**20, 30), Limit(2**12, 10), Limit(0, 10)
UPLOAD_SECONDS = 120.0
OPEN = re.compile(
    r"/|/login/?|/logout|/(assets|static|svelte)/.+|/favicon\.ico|/robots\.txt|/manifest\.json|/pwa_icon(/.*)?"
    r"|(/gradio_api)?/theme\.css|/gradio_api/(user|login_check|app_id|startup-events)/?"
)
"""Paths needed before signing in: the login form and its style."""
READ = re.compile(
    rf"{OPEN.pattern}|/config/?|/(video|poster)/[0-9a-f]+\.(mp4|jpg)"
    r"|/gradio_api/(info/?|queue/data|upload_progress|call/[^/]+/[^/]+)"
)
WRITTEN = re.compile(r"/login/?|/gradio_api/(queue/join|cancel|reset/?|upload|(run|api|call)/[^/]+/?)")
"""Everything else that Gradio serves is closed: files by path, proxies, streams, links to states."""
UNBELIEVED = re.compile(
    rb"x-forwarded-(?!proto$).*|forwarded|x-real-ip|x-original-.*|x-rewrite-.*|x-gradio-.*|x-zerogpu-.*|x-ip-token"
)
"""Headers that a stranger can forge as easily as a proxy can set, and that Gradio would trust."""
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
ADDED = {
    "content-security-policy": POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Refused(Exception):
    """A refused request; after ``wait`` seconds it may be accepted."""

    def __init__(self, status: int, reason: str, wait: int = 0) -> None:
        super().__init__(reason)
        self.status, self.wait = status, wait


class Door:
    """ASGI application in front of another."""

    def __init__(
        self, app: Any, names: Names, uploads: Uploads, user_of: Callable[[dict[str, str]], str | None] | None
    ) -> None:
        """``user_of`` finds the account in a request's cookies; None if no password is required."""
        self.app, self.names, self.uploads, self.user_of, self.brake = app, names, uploads, user_of, Brake()

    async def __call__(self, scope: Message, receive: Receive, send: Any) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":  # the page does not use WebSockets
            return await send({"type": "websocket.close", "code": 1008})
        answer, incoming = _Answer(send), Incoming(receive)
        try:
            headers = _headers(scope)
            self._check_sender(scope, headers)
            cookies = _cookies(headers)
            self._check_place(scope, cookies)
            scope = scope | {"headers": [pair for pair in scope["headers"] if not UNBELIEVED.fullmatch(pair[0])]}
            await self._let_in(scope, Body(incoming, self._limit(scope, headers)), answer, cookies)
        except (Refused, TooMuch) as error:
            await answer.refuse(incoming, error.status, str(error), getattr(error, "wait", 0))

    def _check_sender(self, scope: Message, headers: Headers) -> None:
        """Raise `Refused` unless the request is for this page, and comes from it or from no page at all."""
        given, server = headers.get("host", []), scope.get("server")
        host = self.names.answers(given[0], server[0] if server else None) if len(given) == 1 else None
        if host is None:
            raise Refused(421, "this page does not answer to that name; allow it with `genkit ui --allow-host NAME`")
        origins, sites = headers.get("origin", []), headers.get("sec-fetch-site", [])
        if not all(self.names.may_speak(origin, host) for origin in origins):
            raise Refused(403, "this request comes from a page at another address")
        foreign = any(site not in ("same-origin", "none") for site in sites)
        walked = headers.get("sec-fetch-mode") == ["navigate"] and headers.get("sec-fetch-dest") == ["document"]
        reads = scope["method"] in ("GET", "HEAD") and scope["path"] != "/logout"  # a link there would sign out
        if foreign and not origins and not (walked and reads):
            raise Refused(403, "this request comes from a page at another address")

    def _check_place(self, scope: Message, cookies: dict[str, str]) -> None:
        """Raise `Refused` unless the page serves this path, and to this person."""
        path, method = scope["path"], scope["method"]
        if self.user_of is not None and self.user_of(cookies) is None and not OPEN.fullmatch(path):
            raise Refused(401, "sign in first")
        if path.startswith(("/gradio_api/file", "/gradio_api/proxy")):
            raise Refused(403, "files are served only by the names of their jobs")
        known = READ if method in ("GET", "HEAD") else WRITTEN if method == "POST" else None
        if known is None or not known.fullmatch(path):
            raise Refused(404 if known else 405, "there is nothing here")

    def _limit(self, scope: Message, headers: Headers) -> Limit:
        if scope["method"] != "POST":
            limit = NOTHING
        elif scope["path"] == "/gradio_api/upload":
            self.uploads.check()
            limit = Limit(self.uploads.each, UPLOAD_SECONDS)
        else:
            limit = LOGIN if scope["path"].startswith("/login") else CALL
        lengths = headers.get("content-length", [])
        if any(not length.isdigit() or len(length) > 18 or int(length) > limit.size for length in lengths):
            raise Refused(413, f"at most {limit.size} bytes may be sent here")
        return limit

    async def _let_in(self, scope: Message, body: Body, answer: "_Answer", cookies: dict[str, str]) -> None:
        if scope["path"] == "/gradio_api/upload":
            return await self._upload(scope, body, answer)
        whole = await body.whole()
        if scope["method"] != "POST" or not scope["path"].startswith("/login"):
            return await self.app(scope, whole, answer)
        client = scope.get("client")
        key = self.brake.key(client[0] if client else None, cookies.get(KNOWN))
        if wait := self.brake.wait(key):
            raise Refused(429, f"too many wrong passwords; try again in {wait} s", wait)
        await self.app(scope, whole, answer.noting(lambda: self._right(key)))

    def _right(self, key: str) -> str:
        """Value of the cookie that a browser gets after the right password."""
        self.brake.right(key)
        return f"{KNOWN}={self.brake.remember()}; Path=/login; HttpOnly; SameSite=Strict; Max-Age=31536000"

    async def _upload(self, scope: Message, body: Body, answer: "_Answer") -> None:
        self.uploads.running += 1
        try:
            await self.app(scope, body, answer.unless(body))
        except Exception:
            if body.broken is None:
                raise
        finally:
            self.uploads.running -= 1
        if body.broken is not None:
            raise body.broken


class _Answer:
    """Sends an answer with the security headers of the page."""

    def __init__(self, send: Any) -> None:
        self._send, self.begun = send, False
        self._body: Body | None = None
        self._right: Callable[[], str] | None = None

    def unless(self, body: Body) -> "_Answer":
        """Send nothing once the body has exceeded its limit."""
        self._body = body
        return self

    def noting(self, right: Callable[[], str]) -> "_Answer":
        """Call ``right`` if the answer is a success, and set the cookie it returns."""
        self._right = right
        return self

    async def __call__(self, message: Message) -> None:
        if self._body is not None and self._body.broken is not None:
            return
        if message["type"] == "http.response.start":
            self.begun = True
            message = message | {"headers": self._headers(message)}
        await self._send(message)

    def _headers(self, message: Message) -> list[tuple[bytes, bytes]]:
        kept = [
            (name.lower(), value) for name, value in message.get("headers", []) if name.lower().decode() not in ADDED
        ]
        kept = [(name, _same_site(value) if name == b"set-cookie" else value) for name, value in kept]
        if self._right is not None and message["status"] == 200:
            kept.append((b"set-cookie", self._right().encode()))
        return kept + [(name.encode(), value.encode()) for name, value in ADDED.items()]

    async def refuse(self, incoming: Incoming, status: int, reason: str, wait: int = 0) -> None:
        """Send the reason of a refusal, unless an answer has begun."""
        if self.begun:
            return
        self._body = self._right = None
        text = f"{reason}\n".encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
        headers += [(b"connection", b"close"), (b"cache-control", b"no-store")]
        headers += [(b"retry-after", str(wait).encode())] if wait else []
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self({"type": "http.response.body", "body": text, "more_body": True})
        await incoming.drain()
        await self({"type": "http.response.body", "body": b""})


def _same_site(cookie: bytes) -> bytes:
    """Cookie that browsers do not send along with requests from other sites."""
    return re.sub(rb"(?i);\s*samesite=\w+", b"", cookie) + b"; SameSite=Lax"


def _headers(scope: Message) -> Headers:
    found: Headers = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip())
    return found


def _cookies(headers: Headers) -> dict[str, str]:
    pairs = (pair.partition("=") for line in headers.get("cookie", []) for pair in line.split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs}
