"""Text from outside is shown by a terminal and never obeyed, wherever it comes from."""

import io
import json
import logging
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_receipt import receipt

import genkit
from genkit.apps.cli import main
from genkit.apps.commands import listing
from genkit.apps.commands.doctor import Check, text_of
from genkit.apps.terminal.progress import guarded_screen, progress_bar, status_line
from genkit.errors import GenkitError, UsageError
from genkit.generation.events import Progress
from genkit.record.receipt import Attention, Refusal
from genkit.record.visible import visible, visible_lines
from genkit.video.video import Video, read_request

EVIL = {
    "colour": "\x1b[31mred",
    "title of the window": "\x1b]0;mine\x07",
    "link": "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;cm0gLXJm\x07",
    "one-byte CSI": "\x9b2J",
    "one-byte OSC": "\x9d52;c;cm0=\x9c",
    "carriage return": "all is well\rgenkit: done",
    "line": "a\nb\x0bc\x85d\u2028e\u2029f",
    "turned around": "\u202egpj.exe\u202c \u2066x\u2069 \u200f\u061c",
    "backspace": "safe\x08\x08\x08\x08",
    "null": "\x00",
    "half a letter": "\udc80",
    "tag": "\U000e0041",
}
COMMANDS = (
    "".join(map(chr, [*range(32), *range(127, 160)])) + "\u2028\u2029\u202a\u202e\u2066\u2069\u200e\u200f\u061c\ufeff"
)
"""What no terminal may be given, line feeds between our own lines apart."""


def obeyed(text: str) -> set[str]:
    return {letter for letter in text if letter in COMMANDS and letter != "\n" or letter in "\udc80\U000e0041"}


@pytest.mark.parametrize("kind", EVIL)
def test_nothing_is_obeyed_and_everything_is_shown(kind: str) -> None:
    shown = visible(EVIL[kind])
    assert shown.isprintable() and shown != EVIL[kind]
    for letter in set(EVIL[kind]):
        assert letter in shown or ascii(letter)[1:-1] in shown, "nothing is left out"


def test_ordinary_text_of_every_script_is_as_before() -> None:
    text = "a red circle, [red] 红色的圆\u3000形 می\u200cخواهم עברית 🎬 👩\u200d🚀 é e\u0301 1\u00a0000"
    assert visible(text) == text
    assert visible_lines("a\n\tb\x1b") == "a\n\tb\\x1b"


@pytest.mark.parametrize("kind", EVIL)
def test_a_receipt_of_a_stranger(kind: str, tmp_path: Path) -> None:
    evil = EVIL[kind]
    refusal = Refusal(plugin=evil, reason=evil, layers=(evil,), calls=1)
    stranger = receipt(
        model=evil, family=evil, pipeline=evil, device=evil, dtype=evil, plugins=(evil,), notes=(evil,), started=evil,
        arguments={evil: evil, "negative_prompt": evil}, versions={evil: evil},
        attention=Attention(calls=1, layers=1, backends={evil: 1}, refusals=(refusal,)),
    )  # fmt: skip
    video = Video(np.zeros((2, 16, 16, 3), np.uint8), 8.0, {"prompt": evil}, stranger)
    for told in (stranger, genkit.read(video.save(tmp_path / "clip.mp4")).receipt):
        assert not obeyed(str(told)) and visible(evil.split("\n")[0]) in str(told).replace("\n", "")


@pytest.mark.filterwarnings("ignore:a warning")
@pytest.mark.parametrize("kind", EVIL)
@pytest.mark.parametrize("error", [GenkitError, UsageError])
def test_an_error_in_the_words_of_others(
    kind: str,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def make(*words: Any, **more: Any) -> None:
        warnings.warn(f"a warning {EVIL[kind]}", stacklevel=1)
        hub = logging.Logger("hub")  # of no other: a worker of pytest cannot send half a letter on
        hub.addHandler(logging.StreamHandler(sys.stderr))
        hub.error(EVIL[kind])
        raise error(f"the hub said {EVIL[kind]}")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(genkit.__dict__, "make", make)
    assert main(["generate", "a"]) in (1, 2)
    said = capsys.readouterr().err
    logging.getLogger("hub").handlers.clear()
    assert not obeyed(said)
    assert said.splitlines()[-1] == f"genkit: the hub said {visible(EVIL[kind].replace(chr(10), ' '))}"


def test_a_recipe_of_a_stranger(tmp_path: Path) -> None:
    path = Video(np.zeros((2, 16, 16, 3), np.uint8), 8.0, {"prompt": "a"}).save(tmp_path / "c.mp4", metadata=False)
    about: dict[str, Any] = {"request": {}, "file": {"frames": 2, "height": 256, "width": 256}}
    for change in (
        {"generator": "genkit-video \x1b]0;x\x07", "schema_version": "\x9b2J"},
        {"generator": "genkit-video 1", "schema_version": 1, "receipt": {"\x1b[2J\u202e": 1}},
    ):
        path.with_name("c.mp4.json").write_text(json.dumps(about | change))
        with pytest.raises(UsageError, match="c.mp4") as refused:
            read_request(path)
        assert not obeyed(str(refused.value))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_and_the_line_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", screen)
    with guarded_screen():
        with progress_bar() as draw:
            assert draw is not None
            draw(Progress(step=1, total=2, seconds=1.0, left=1.0, stage="[red]\x1b]0;x\x07"))
        status_line("1/2 \x1b]0;x\x07\r.mp4", last=False)
        sys.stderr.write("\rmodel.safetensors 50%\x1b]0;x\x07")
        sys.stderr.write("\n\x1b[A")
    assert "[red]\\x1b]0;x\\x07" in screen.getvalue(), "no markup either"
    assert "\r\x1b[K1/2 \\x1b]0;x\\x07\\r.mp4" in screen.getvalue()
    assert screen.getvalue().endswith("\rmodel.safetensors 50%\\x1b]0;x\\x07\n\x1b[A"), "the bar of a download is drawn"
    assert "\x1b]" not in screen.getvalue() and sys.stderr is screen


def test_cards_of_other_packages_and_names_of_devices() -> None:
    evil = "".join(EVIL.values()).replace("\n", "")
    card = {
        "name": evil,
        "title": evil,
        "parameters": [{"name": evil, "type": evil, "required": True, "description": evil}],
    }
    for text in (listing.format_rows([card], False), text_of(Check(name=evil, ok=False, found=evil, fix=evil))):
        assert not obeyed(text)


def test_names_of_files(tmp_path: Path) -> None:
    """A name may hold anything but a slash and a null."""
    name = "\x1b]0;x\x07\u202e\r\udc80"
    Video(np.zeros((3, 16, 16, 3), np.uint8), 8.0, {"prompt": "a"}).save(tmp_path / f"{name}.mp4")
    (tmp_path / f"b{name}.mp4").write_bytes(b"no video")
    lines = [
        f"eval run {shlex.quote(str(tmp_path))} --suite lite --out {tmp_path}/run",
        f"rerun {shlex.quote(str(tmp_path / f'b{name}.mp4'))}",
        f"generate a -o {shlex.quote(f'/dev/null/{name}.mp4')}",
        f"generate a --with {shlex.quote(name)}",
        f"generate a --model {shlex.quote(name.strip(chr(0xDC80)))}",
    ]
    for line in lines:
        code = "import sys; from genkit.apps.cli import main; sys.exit(main(sys.argv[1:]))"
        done = subprocess.run([sys.executable, "-c", code, *shlex.split(line)], capture_output=True, cwd=tmp_path)
        for said in (done.stdout, done.stderr):
            text = said.decode("utf-8")
            assert not obeyed(text) and "Traceback" not in text
        assert "\\x1b]0;x\\x07" in (done.stdout + done.stderr).decode()
