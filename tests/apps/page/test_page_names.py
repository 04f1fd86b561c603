"""The names of the page, the brake on passwords and the bounds of what is sent: each without a server."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from genkit.apps.door import brake as page_brake
from genkit.apps.door.body import Body, Limit, TooMuch, Uploads
from genkit.apps.door.brake import FREE_TRIES, MAX_ADDRESSES, MAX_WAIT, Brake
from genkit.apps.door.names import Names, Place, origin_of, place_of
from genkit.errors import UsageError


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("localhost:7860", Place("localhost", 7860)),
        ("LocalHost.:80", Place("localhost", 80)),
        ("127.0.0.1", Place("127.0.0.1", None)),
        ("[::1]:7860", Place("::1", 7860)),
        ("[0:0:0:0:0:0:0:1]", Place("::1", None)),
        ("[::ffff:127.0.0.1]", Place("127.0.0.1", None)),
        *(
            (wrong, None)
            for wrong in ("", ":80", "a b", "a@b", "a/b", "a:b", "[localhost]", "a:80:80", "a,b", ".", "é")
        ),
        ("localhost..", Place("localhost.", None)),
    ],
)
def test_a_host_has_one_spelling(text: str, place: Place | None) -> None:
    assert place_of(text) == place


def test_an_origin_is_the_address_of_a_page() -> None:
    assert origin_of("https://A.example:443") == origin_of("https://a.example") == Place("a.example", None)
    assert origin_of("http://a.example:443") == Place("a.example", 443)
    for wrong in ("null", "", "a.example", "file://", "ftp://a.example", "http://", "http://a@b", "http://a/b"):
        assert origin_of(wrong) is None, wrong


@pytest.mark.parametrize(
    ("bound", "allowed", "host", "server", "known"),
    [
        ("127.0.0.1", (), "localhost:7860", "127.0.0.1", True),
        ("127.0.0.1", (), "127.0.0.1:9000", "127.0.0.1", True),
        ("127.0.0.1", (), "evil.example:7860", "127.0.0.1", False),
        ("127.0.0.1", (), "localhost.evil.example", "127.0.0.1", False),
        ("127.0.0.1", (), "127.0.0.1.evil.example", "127.0.0.1", False),
        ("127.0.0.1", (), "192.168.1.5:7860", "127.0.0.1", False),
        ("127.0.0.1", ("videos.example",), "Videos.Example.", "127.0.0.1", True),
        ("127.0.0.2", (), "127.0.0.2:7860", "127.0.0.2", True),
        ("::1", (), "[::1]:7860", "::1", True),
        ("0.0.0.0", (), "192.168.1.5:7860", "192.168.1.5", True),
        ("0.0.0.0", (), "192.168.1.6:7860", "192.168.1.5", False),
        ("0.0.0.0", (), "0.0.0.0:7860", "192.168.1.5", False),
        ("0.0.0.0", (), "box:7860", "192.168.1.5", False),
        ("0.0.0.0", ("box",), "box:7860", "192.168.1.5", True),
        ("::", (), "192.168.1.5:7860", "::ffff:192.168.1.5", True),
        ("::", (), "[fd00::5]:7860", "fd00::5", True),
        ("192.168.1.5", (), "192.168.1.5", "192.168.1.5", True),
        ("box.local", (), "box.local:7860", "192.168.1.5", True),
    ],
)
def test_by_which_names_a_page_goes(bound: str, allowed: tuple[str, ...], host: str, server: str, known: bool) -> None:
    assert (Names(bound, allowed).answers(host, server) is not None) == known


def test_which_pages_may_speak_to_it() -> None:
    names, host = Names("127.0.0.1", ["videos.example", "box:8443"]), Place("localhost", 7860)
    for origin in ("http://localhost:7860", "https://videos.example", "http://box:8443", "http://LOCALHOST:7860"):
        assert names.may_speak(origin, host), origin
    for origin in ("null", "http://localhost:3000", "http://localhost", "http://127.0.0.1:7860", "http://evil.example",
                   "https://videos.example:8000", "https://videos.example.evil.example", "http://box"):  # fmt: skip
        assert not names.may_speak(origin, host), origin


@pytest.mark.parametrize("name", ["http://a.example", "a/b", "", "a b", "*", "a:b"])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(UsageError, match="--allow-host .* is not the name of a machine; give one as it appears"):
        Names("127.0.0.1", [name])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(page_brake.time, "monotonic", lambda: now[0])
    return now


def test_wrong_passwords_have_to_wait_longer_and_longer_but_not_for_ever(clock: list[float]) -> None:
    brake = Brake()
    assert [brake.wait("a") for _ in range(FREE_TRIES)] == [0] * FREE_TRIES
    waits = []
    for _ in range(12):
        waits.append(brake.wait("a"))
        clock[0] += waits[-1]
        assert brake.wait("a") == 0
    assert waits[:4] == [1, 2, 4, 8] and waits[-1] == MAX_WAIT
    assert brake.wait("b") == 0, "one address brakes another"
    clock[0] += page_brake.FORGET_AFTER + 1
    assert [brake.wait("a") for _ in range(FREE_TRIES)] == [0] * FREE_TRIES


def test_a_right_password_does_not_make_wrong_ones_free(clock: list[float]) -> None:
    brake = Brake()
    for _ in range(FREE_TRIES - 1):
        assert brake.wait("a") == 0
        assert brake.wait("a") == 0  # her own, between the guesses
        brake.right("a")
    assert brake.wait("a") == 0 and brake.wait("a") > 0


def test_the_right_person_is_let_in_beside_an_attack_from_the_same_address(clock: list[float]) -> None:
    brake = Brake()
    word = brake.remember()
    for _ in range(50):
        brake.wait(brake.key("1.2.3.4", "guessed"))
    assert brake.wait(brake.key("1.2.3.4", None)) > 0
    assert brake.wait(brake.key("1.2.3.4", word)) == 0


def test_the_brake_does_not_grow(clock: list[float]) -> None:
    brake = Brake()
    for number in range(2 * MAX_ADDRESSES):
        brake.wait(brake.key(f"10.0.{number // 256}.{number % 256}", None))
        brake.remember()
    assert len(brake._tries) == len(brake._known) == MAX_ADDRESSES
    assert brake.key("fd00::1", None) == brake.key("fd00::ffff", None) != brake.key("fd00:0:0:1::1", None)
    assert brake.key("::ffff:1.2.3.4", None) == brake.key("1.2.3.4", None)


def received(*pieces: bytes, end: bool = True, pause: float = 0.0) -> Any:
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause)
        if not left:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or not end}

    return receive


def test_a_body_is_bounded_in_size_and_time() -> None:
    async def whole(body: Body) -> bytes:
        again = await body.whole()
        return bytes((await again())["body"]) + bytes((await again())["body"])

    assert asyncio.run(whole(Body(received(b"ab", b"cd"), Limit(4, 5)))) == b"abcd"
    with pytest.raises(TooMuch, match="more than 3 bytes") as caught:
        asyncio.run(whole(Body(received(b"ab", b"cd"), Limit(3, 5))))
    assert caught.value.status == 413
    for slow in (received(b"ab", end=False), received(*[b"a"] * 100, pause=0.05)):
        with pytest.raises(TooMuch, match="longer than 0.2 seconds") as caught:
            asyncio.run(whole(Body(slow, Limit(1000, 0.2))))
        assert caught.value.status == 408


def test_uploads_together_are_bounded_and_go(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, each=100, room=250, at_once=2, kept=60.0)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a").write_bytes(bytes(140))
    uploads.check()
    uploads.running = 1
    with pytest.raises(TooMuch, match="the folder for uploads is full"):
        uploads.check()
    uploads.running = 2
    with pytest.raises(TooMuch, match="2 files are being uploaded already"):
        uploads.check()
    uploads.running = 1
    os.utime(tmp_path / "deep" / "a", (0, 0))
    uploads.check()
    assert not (tmp_path / "deep" / "a").exists()
