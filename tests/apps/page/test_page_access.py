"""The door of the page: who gets in, from where, with how much, and what of the others they find."""

import contextlib
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_jobs import steady, until

from genkit.apps.cli import main
from genkit.apps.door import body as page_body
from genkit.apps.door import gate, serve
from genkit.apps.jobs import private
from genkit.apps.jobs.store import Job, Store
from genkit.apps.jobs.worker import work
from genkit.request import Request

ANN = {"username": "ann", "password": "pass:word"}
BOB = {"username": "bob", "password": "two"}
SECRET = "a fox that only ann knows"
POLICY = "frame-ancestors 'none'"


@dataclass
class Open:
    """A page on all addresses of this machine, for two people."""

    store: Store
    port: int
    ann: Job
    bob: Job
    lone: Job

    @contextlib.contextmanager
    def client(self, who: dict[str, str] | None = None) -> Iterator[Any]:
        """A browser's connection, signed in as somebody."""
        import httpx

        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=120) as client:
            if who is not None:
                assert client.post("/login", data=who).status_code == 200
            yield client

    def raw(self, text: bytes, seconds: float = 60.0) -> bytes:
        """What is answered to bytes that no client would send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as line:
            line.sendall(text)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := line.recv(65536):
                    answer += piece
        return answer


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    pytest.importorskip("gradio", reason="the page needs gradio")
    store = Store(tmp_path_factory.mktemp("access") / "out")
    ann, bob = (store.submit(Request(prompt=text), owner=who) for text, who in ((SECRET, "ann"), ("b", "bob")))
    lone = store.submit(Request(prompt="made before there were accounts"))
    work(store, steady, once=True)
    with pytest.MonkeyPatch.context() as patch, serve.isolate():
        patch.setattr(serve, "LARGEST_UPLOAD", "1kb")
        patch.setattr(serve, "AROUND", 2000)
        patch.setattr(serve, "TABS", 20)
        accounts = [(who["username"], who["password"]) for who in (ANN, BOB)]
        served = serve.launch(store, SimpleNamespace(alive=True), "0.0.0.0", None, accounts, ["videos.example"])
        yield Open(store, served.server_port, *(store.job(job.id) for job in (ann, bob, lone)))
        served.close()


def asked_for(page: Open) -> list[tuple[str, str, dict[str, Any]]]:
    """Everything that a page answers: method, path, body."""
    call = {"data": [], "fn_index": 0, "session_hash": "x"}
    return [
        ("GET", "/config", {}),
        ("GET", "/gradio_api/info", {}),
        ("GET", "/gradio_api/queue/data?session_hash=x", {}),
        ("GET", f"/gradio_api/file={page.store.video(page.ann)}", {}),
        ("GET", f"/video/{page.ann.id}.mp4", {}),
        ("GET", f"/poster/{page.ann.id}.jpg", {}),
        ("POST", "/gradio_api/queue/join", {"json": call}),
        ("POST", "/gradio_api/run/newest", {"json": call}),
        ("POST", "/gradio_api/call/newest", {"json": call}),
        ("POST", "/gradio_api/cancel", {"json": call}),
        ("POST", "/gradio_api/upload", {"files": {"files": b"x"}}),
    ]


def test_nothing_is_given_without_the_password(page: Open) -> None:
    with page.client() as client:
        for method, path, body in asked_for(page):
            assert client.request(method, path, **body).status_code == 401, path
        shown = client.get("/").text
        assert "Make a video" not in shown and SECRET not in shown, "the page is given before the password"
        for wrong in (ANN | {"password": "word"}, ANN | {"password": ""}, ANN | {"username": "eve"}):
            assert client.post("/login", data=wrong).status_code in (400, 422)
        assert client.get("/config").status_code == 401


def test_the_password_opens_it_and_uploads_are_bounded(page: Open) -> None:
    with page.client(ANN) as client:
        assert client.get("/config").status_code == 200 and "Make a video" in client.get("/").text
        assert client.get(f"/video/{page.ann.id}.mp4").content == page.store.video(page.ann).read_bytes()
        part = client.get(f"/video/{page.ann.id}.mp4", headers={"Range": "bytes=4-7"})
        assert (part.status_code, part.content) == (206, b"ftyp")
        small, large, huge = (client.post("/gradio_api/upload", files={"files": bytes(n)}) for n in (500, 2000, 9000))
        assert (small.status_code, large.status_code, huge.status_code) == (200, 413, 413)
        for path in (page.store.state / "jobs.sqlite", page.store.video(page.ann)):
            assert client.get(f"/gradio_api/file={path}").status_code == 403
        client.get("/logout")
        assert client.get("/config").status_code == 401


def test_tabs_hold_neither_connections_nor_much_memory(page: Open) -> None:
    """A browser has six connections to a page: a tab that held one would stop everything from the sixth tab on."""
    with page.client(ANN) as client:
        assert client.get("/config").json()["connect_heartbeat"] is False
        assert client.get("/gradio_api/heartbeat/x").status_code == 404
        for tab in range(serve.TABS + 1):
            calls(page, client, "newest", session=f"tab {tab}")
            assert page.ann.id in str(calls(page, client, "status", None, None, session=f"tab {tab}"))
        last, first = (str(calls(page, client, "status", None, None, session=f"tab {n}")) for n in (serve.TABS, 0))
    assert SECRET not in last and "Nothing has been made yet" in first, "what is remembered of tabs has no end"


def calls(page: Open, client: Any, name: str, *data: Any, session: str = "s") -> Any:
    """What a function of the page answers to one account."""
    call = {"data": list(data), "session_hash": session}
    answer = client.post(f"/gradio_api/run/{name}", json=call)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def test_an_account_finds_its_own_jobs_only(page: Open) -> None:
    for who, own, others in ((ANN, page.ann, (page.bob, page.lone)), (BOB, page.bob, (page.ann, page.lone))):
        with page.client(who) as client:
            session = who["username"]
            calls(page, client, "newest", session=session)
            shown = str(calls(page, client, "status", None, None, session=session))
            assert own.id in shown and not any(job.id in shown for job in others)
            assert (SECRET in shown) == (who is ANN)
            assert client.get(f"/video/{own.id}.mp4").status_code == 200
            for job in others:
                for path in (f"/video/{job.id}.mp4", f"/poster/{job.id}.jpg"):
                    foreign, missing = client.get(path), client.get(path.replace(job.id, "0" * 32))
                    assert foreign.status_code == missing.status_code == 404
                    assert foreign.content == missing.content, "it tells that there is such a job"


def test_a_name_of_a_job_opens_nothing_to_another_account(page: Open) -> None:
    """A tab's state is on the server by a number that the browser chose: bob may take ann's."""
    from genkit.apps.page.view import PARTS, View

    waiting = page.store.submit(Request(prompt=SECRET), owner="ann")
    view = View(page.store, lambda: True)
    shown = dict(zip(PARTS, view.look(waiting.id, {}, "bob"), strict=False))
    assert "no longer exists" in shown["status"] and SECRET not in str(shown)
    said = str(view.rerun(waiting.id, "bob"))
    assert "no longer exists" in said
    with page.client(ANN) as ann, page.client(BOB) as bob:
        calls(page, ann, "newest", session="tab")
        assert SECRET not in str(calls(page, bob, "load_settings", None, session="tab"))
        assert waiting.id not in str(calls(page, bob, "status", None, None, session="tab"))
        calls(page, bob, "cancel", None, session="tab")
        assert page.store.job(waiting.id).status == "queued", "one account cancelled another's job"
        assert SECRET in str(calls(page, ann, "load_settings", None, session="tab"))
        calls(page, ann, "cancel", None, session="tab")
    assert page.store.job(waiting.id).status == "cancelled"


def test_jobs_belong_to_their_owners_after_a_restart(page: Open) -> None:
    again = Store(page.store.folder)
    assert again.job(page.ann.id).owner == "ann"
    assert page.bob.id in [job.id for job in again.jobs(owner="bob")]
    assert {job.owner for job in again.jobs(owner="bob")} == {"bob"}


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1", True), ("localhost:1234", True), ("LOCALHOST.", True), ("videos.example", True),
        ("evil.example", False), ("evil.example:7860", False), ("127.0.0.1.evil.example", False),
        ("localhost@evil.example", False), ("192.0.2.1", False), ("0.0.0.0", False), ("", False), ("[::2]", False),
    ],
)  # fmt: skip
def test_a_strangers_name_is_not_answered(page: Open, host: str, known: bool) -> None:
    """A name of a stranger that leads to this machine would make his page one with ours."""
    with page.client() as client:
        for path in ("/", "/theme.css", "/config", "/nothing"):
            for method in ("GET", "POST", "OPTIONS"):
                refused = client.request(method, path, headers={"Host": host}).status_code in (400, 421)
                assert refused == (not known), (path, method)
        headers = {"Host": host, "X-Forwarded-Host": "127.0.0.1", "Forwarded": "host=127.0.0.1"}
        assert (client.get("/", headers=headers).status_code == 200) == known


def test_no_header_of_a_proxy_is_believed(page: Open) -> None:
    with page.client() as client:
        headers = {
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Server": "evil.example",
            "X-Gradio-Server": "evil.example",
        }
        assert "evil.example" not in client.get("/", headers=headers).text


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n", (b"400", b"421")),
        (b"GET / HTTP/1.1\r\n\r\n", (b"400", b"421")),
        (b"GET / HTTP/1.0\r\n\r\n", (b"400", b"421")),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", (b"401", b"404")),
        (b"GET http://127.0.0.1/config HTTP/1.1\r\nHost: evil.example\r\n\r\n", (b"421",)),
        (b"CONNECT evil.example:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", (b"401", b"404", b"405")),
        (
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            (b"200", b"400", b"403", b"426"),
        ),
    ],
)
def test_odd_requests(page: Open, request_line: bytes, status: tuple[bytes, ...]) -> None:
    answer = page.raw(request_line.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
    assert answer.split(b" ")[1] in status and b"101 Switching" not in answer


@pytest.mark.parametrize(
    "path", ["/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/run/make", "/login", "/"]
)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "https://videos.example.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    ],
)
def test_another_page_can_send_nothing(page: Open, path: str, headers: dict[str, str]) -> None:
    with page.client(ANN) as client:
        before = len(page.store.jobs())
        answer = client.post(path, headers=headers, files={"files": b"x"})
        assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers
        preflight = headers | {"Access-Control-Request-Method": "POST"}
        assert client.options(path, headers=preflight).status_code in (403, 405)
        assert len(page.store.jobs()) == before


def test_which_looks_from_elsewhere_are_answered(page: Open) -> None:
    """A link to the page is; what another page would take in is not."""
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    with page.client(ANN) as client:
        assert client.get("/", headers=link).status_code == 200
        assert client.get("/", headers=link | {"Sec-Fetch-Dest": "iframe"}).status_code == 403
        film = f"/video/{page.ann.id}.mp4"
        for headers in ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "video"}, {"Origin": "http://evil.example"}):
            assert client.get(film, headers=headers).status_code == 403
        assert (
            client.get("/logout", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}).status_code
            == 403
        )
        own = f"http://127.0.0.1:{page.port}"
        for headers in ({}, {"Origin": own}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": "https://videos.example"}):
            assert client.get(film, headers=headers).status_code == 200
            upload = client.post("/gradio_api/upload", headers=headers, files={"files": b"x"})
            assert upload.status_code == 200


def test_every_answer_says_that_it_is_not_to_be_framed(page: Open) -> None:
    with page.client(ANN) as client:
        for path in ("/", "/config", "/theme.css", "/nothing", f"/video/{page.ann.id}.mp4", "/gradio_api/file=/x"):
            headers = client.get(path).headers
            assert headers["X-Frame-Options"] == "DENY" and POLICY in headers["Content-Security-Policy"], path
            assert headers["X-Content-Type-Options"] == "nosniff"
        refused = client.get("/", headers={"Host": "evil.example"})
        assert POLICY in refused.headers["Content-Security-Policy"]


def test_cookies_are_for_this_site_only(page: Open) -> None:
    with page.client() as client:
        cookies = client.post("/login", data=ANN).headers.get_list("set-cookie")
    assert len(cookies) >= 2
    for cookie in cookies:
        assert re.search("samesite=(lax|strict)", cookie.lower()) and "httponly" in cookie.lower()
        assert "samesite=none" not in cookie.lower()


def test_a_body_is_not_read_before_the_password(page: Open) -> None:
    """Nor one that is too large; the answer comes while most of it was not sent."""
    large = b"Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n{"
    for path in (b"/gradio_api/upload", b"/gradio_api/run/make", b"/gradio_api/queue/join"):
        assert page.raw(b"POST " + path + b" HTTP/1.1\r\n" + large).split(b" ")[1] == b"401"
    assert page.raw(b"POST /login HTTP/1.1\r\n" + large).split(b" ")[1] == b"413"
    with page.client(ANN) as client:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items()).encode()
    for path in (b"/gradio_api/upload", b"/gradio_api/run/make", b"/gradio_api/queue/join"):
        line = b"POST " + path + b" HTTP/1.1\r\nCookie: " + cookie + b"\r\n"
        assert page.raw(line + large).split(b" ")[1] == b"413"
        pieces = (
            b"Host: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"
        assert page.raw(line + pieces + 3 * chunk).split(b" ")[1] == b"413", "a body without a length has no bound"


@pytest.mark.parametrize("path", [b"/login", b"/gradio_api/run/make", b"/gradio_api/upload"])
def test_a_slow_body_is_given_up(page: Open, path: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    short = page_body.Limit(2**12, 0.5)
    monkeypatch.setattr(gate, "LOGIN", short)
    monkeypatch.setattr(gate, "CALL", short)
    monkeypatch.setattr(gate, "UPLOAD_SECONDS", 0.5)
    with page.client(ANN) as client:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items()).encode()
    head = b"POST " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: " + cookie + b"\r\nContent-Length: 500\r\n"
    answer = page.raw(head + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n")
    assert answer.split(b" ")[1] == b"408"


def test_wrong_passwords_are_braked_and_the_right_one_is_let_in_after(page: Open) -> None:
    with page.client() as client:
        known = client.post("/login", data=BOB)
        assert known.status_code == 200
        answers = []
        for number in range(12):
            headers = {"X-Forwarded-For": f"10.0.0.{number}", "Forwarded": f"for=10.0.0.{number}"}
            with page.client() as stranger:
                answers.append(stranger.post("/login", data=ANN | {"password": str(number)}, headers=headers))
        assert 429 in [answer.status_code for answer in answers], "nothing brakes wrong passwords"
        braked = answers[-1]
        assert braked.status_code == 429 and "too many wrong passwords; try again in" in braked.text
        with page.client() as stranger:
            assert stranger.post("/login", data=ANN).status_code == 429, "the brake tells a right password"
        assert client.post("/login", data=BOB).status_code == 200, "a browser that is known is locked out"
        until(lambda: _signs_in(page, ANN), 120)


def _signs_in(page: Open, who: dict[str, str]) -> bool:
    time.sleep(1)
    with page.client() as client:
        return bool(client.post("/login", data=who).status_code == 200)


def test_a_browser_that_asks_for_nothing_is_signed_out(page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from genkit.apps.door import accounts as page_accounts

    with page.client(ANN) as client:
        assert client.get("/config").status_code == 200
        monkeypatch.setattr(page_accounts, "SIGNED_IN", -1.0)
        assert client.get("/config").status_code == 401, "whoever finds an old cookie is let in"
        monkeypatch.undo()
        assert client.get("/config").status_code == 401 and SECRET not in client.get("/").text
        assert client.post("/login", data=ANN).status_code == 200 and client.get("/config").status_code == 200


def test_a_link_of_another_page_signs_nobody_out(page: Open) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    with page.client(ANN) as client:
        assert client.get("/logout", headers=link).status_code == 403
        assert client.get("/config").status_code == 200
        client.get("/logout", headers=link | {"Sec-Fetch-Site": "same-origin"})
        assert client.get("/config").status_code == 401


def test_one_address_holds_a_share_of_the_connections_only(page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from genkit.apps.door import server

    monkeypatch.setattr(server, "SHARE", len(server.Prompt.open) + 3)
    until(lambda: not server.Prompt.open)
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(("127.0.0.1", page.port), 60)) for _ in range(3)]
        assert page.raw(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") == b"", "one machine can take every connection"
        held[0].close()
        until(lambda: server.Prompt.open["127.0.0.1"] < 3)
        with page.client() as client:
            assert client.get("/").status_code == 200
    until(lambda: not server.Prompt.open)


def test_an_answer_that_nobody_takes_is_given_up(page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from genkit.apps.door import server

    monkeypatch.setattr(server, "STALLED", 0.5)
    until(lambda: not server.Prompt.open)
    film = page.store.video(page.bob)
    small = film.read_bytes()
    with page.client(BOB) as client:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    head = f"GET /video/{page.bob.id}.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n\r\n"
    try:
        film.write_bytes(bytes(2**25))
        with socket.create_connection(("127.0.0.1", page.port), 60) as line:
            line.sendall(head.encode())
            until(lambda: bool(server.Prompt.open))
            until(lambda: not server.Prompt.open)
    finally:
        film.write_bytes(small)


def test_an_idle_connection_is_closed(page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from genkit.apps.door import server

    monkeypatch.setattr(server, "HEADER_SECONDS", 0.5)
    for begun in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "):
        assert page.raw(begun, seconds=30) in (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"])
def test_nothing_stays_behind(tmp_path: Path, how: str) -> None:
    """Uploads are gone when the page ends; after a kill, when the next one begins."""
    pytest.importorskip("gradio", reason="the page needs gradio")
    places, folder = tmp_path / "tmp", tmp_path / "out"
    places.mkdir()
    program = (
        "import os, signal\nfrom pathlib import Path\n"
        "from genkit.apps.door import serve\nfrom genkit.apps.jobs import keeper\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which a test in the background ignores
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "keeper.WORKER = 'import time; time.sleep(600)'\nos.umask(0)\n"
        f"raise SystemExit(serve.serve('127.0.0.1', None, Path({str(folder)!r}), None))"
    )
    environment = os.environ | {"TMPDIR": str(places)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment
    ) as served:
        assert served.stdout is not None
        address = served.stdout.readline().split(": ")[0]
        import httpx

        with httpx.Client(base_url=address, trust_env=False, timeout=120) as client:
            assert client.post("/gradio_api/upload", files={"files": b"secret"}).status_code == 200
        left = list(places.glob(f"{private.TEMPORARY}*"))
        assert left and not any(path.stat().st_mode & 0o077 for path in left), "others can read what was uploaded"
        assert not any(path.stat().st_mode & 0o077 for path in (folder, *folder.rglob("*")))
        served.send_signal(getattr(signal, how))
        code = served.wait(60)
    assert code == {"SIGTERM": 143, "SIGINT": 130, "SIGHUP": 129, "SIGKILL": -9}[how]
    if how == "SIGKILL":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(private.tempfile, "tempdir", str(places))
            with private.temporary_folder() as mine:
                assert list(places.glob(f"{private.TEMPORARY}*")) == [mine]
                left = [path for path in places.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]
                assert left == []
    assert not list(places.glob(f"{private.TEMPORARY}*"))


def test_a_name_that_cannot_be_is_refused_on_the_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["ui", "--allow-host", "http://videos.example/"]) == 2
    assert "--allow-host 'http://videos.example/' is not the name of a machine" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_files_of_the_page_are_for_one_person(page: Open) -> None:
    film = page.store.video(page.ann)
    for path in (film, page.store.poster(page.ann), film.with_name(film.name + ".json"), page.store.state):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077


@pytest.mark.parametrize("port", [-1, 65536, 10**30])
def test_a_port_that_cannot_be_is_refused_before_a_folder_is_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["ui", f"--port={port}"]) == 2
    assert f"--port {port} must be a whole number from 0" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
