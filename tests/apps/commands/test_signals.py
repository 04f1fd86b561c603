"""Commands that are ended from outside: one line, nothing half written, the exit code that shells expect."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from genkit.apps import cli
from genkit.apps.terminal.signals import GRACE, Stopped, exit_code, orderly_end
from genkit.video.video import read

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
FRESH = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it\n"
WAITS = FRESH + "import sys, time\n"
MAIN = "from genkit.apps.cli import main\nsys.exit(main({words!r}))\n"

MAKING = """
import genkit
def make(request, on_event=None, pipe=None):
    print("ready", flush=True)
    time.sleep(60)
genkit.make = make
"""
MEASURING = """
import genkit.probing.probe, genkit.making, genkit.loading
import genkit.benchmarks.evaluate.run, genkit.benchmarks.speed.attention
import genkit
def waits(*words, **more):
    print("ready", flush=True)
    time.sleep(60)
genkit.loading.load = genkit.load = lambda *words, **more: None
genkit.probe = genkit.making.make = genkit.benchmarks.evaluate.run.evaluate = waits
genkit.benchmarks.speed.attention.attention = waits
"""
ENCODING = """
import numpy as np
import genkit, genkit.files.encode
from genkit.video.video import Video
genkit.make = lambda request, on_event=None: Video(np.zeros((100, 32, 64, 3), np.uint8), 8.0, {"prompt": "a"})
planes, seen = genkit.files.encode.yuv420, []
def slow(frame):
    seen.append(1)
    if len(seen) == 90:
        print("ready", flush=True)
        time.sleep(60)
    return planes(frame)
genkit.files.encode.yuv420 = slow
"""
COMMANDS = {
    "generate": (MAKING, ["generate", "a", "-o", "out/clip.mp4"]),
    "encoding": (ENCODING, ["generate", "a", "-o", "clip.mp4"]),
    "compare": (MEASURING, ["compare", "a", "--model", "m", "--versus", "--with", "radial", "--out", "run"]),
    "probe": (MEASURING, ["probe", "a", "--with", "threshold", "--out", "budget.json"]),
    "eval": (MEASURING, ["eval", "run", "clips", "--suite", "lite", "--out", "run"]),
    "bench": (MEASURING, ["bench", "attention"]),
    "demo": (MEASURING, ["demo"]),
}


def started(code: str, words: list[str], folder: Path) -> "subprocess.Popen[str]":
    """A command in a process of its own, once it is in the middle of its work."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    text = WAITS + code + MAIN.format(words=words)
    child = subprocess.Popen([sys.executable, "-c", text], cwd=folder, text=True, **pipes)
    assert child.stdout is not None
    for line in child.stdout:
        if line == "ready\n":
            return child
    raise AssertionError(child.stderr and child.stderr.read())


def parts(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.part")]


EVERY = [(command, number) for command in ("generate", "encoding") for number in SIGNALS]
EVERY += [(command, signal.SIGTERM) for command in COMMANDS if command not in ("generate", "encoding")]


@pytest.mark.parametrize(("command", "number"), EVERY)
def test_a_signal_ends_every_command_in_one_line(command: str, number: signal.Signals, tmp_path: Path) -> None:
    code, words = COMMANDS[command]
    child = started(code, words, tmp_path)
    if command == "encoding":
        assert parts(tmp_path), "the encoder looks ahead, so this test has to wait for its file"
    child.send_signal(number)
    _, said = child.communicate(timeout=60)
    ended = [line for line in said.splitlines() if line.startswith("genkit: ")]
    assert (child.returncode, len(ended)) == (SIGNALS[number], 1), said
    assert ended[0].startswith("genkit: stopped") and "Traceback" not in said
    assert not list(tmp_path.rglob("*.mp4")) and not parts(tmp_path)


class Last:
    """Gets a signal while it is destroyed, where Python ignores every exception."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_inside_a_destructor_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    hook = sys.unraisablehook
    with pytest.raises(Stopped) as stopped, orderly_end(for_good=False):
        Last()
        for _ in range(100):
            time.sleep(0.01)
    assert exit_code(stopped.value) == 143 and sys.unraisablehook is hook
    assert capsys.readouterr().err == ""


def test_other_exceptions_of_destructors_are_reported_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: reported.append(lost.exc_type))
    with orderly_end(for_good=False):
        monkeypatch.setattr(Last, "__del__", lambda self: 1 / 0)
        Last()
    assert reported == [ZeroDivisionError]


def test_the_page_ends_by_a_signal_too(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    code = """
import genkit.apps.door.serve as serve
from types import SimpleNamespace
class Page:
    local_url = "here"
    @property
    def is_running(self):
        print("ready", flush=True)
        return True
serve.launch = lambda *words: Page()
serve.Keeper.__enter__ = lambda self: self
serve.Keeper.__exit__ = lambda self, *words: print("closed", flush=True)
"""
    child = started(code, ["ui", "-o", "page"], tmp_path)
    child.send_signal(signal.SIGTERM)
    out, said = child.communicate(timeout=60)
    assert (child.returncode, said) == (143, "genkit: the page is closed\n")
    assert out.endswith("closed\n"), "what the page opened is closed"


def test_a_signal_after_the_end_tells_what_is_finished(tmp_path: Path) -> None:
    code = (
        ENCODING.replace("len(seen) == 90", "False")
        + """
import genkit.video.targets, os
beside = genkit.video.targets._place_beside
genkit.video.targets._place_beside = lambda *words: (os.kill(os.getpid(), signal.SIGTERM), beside(*words))
"""
    )
    words = ["generate", "a", "-o", "clip.mp4"]
    done = subprocess.run(
        [sys.executable, "-c", WAITS + code + MAIN.format(words=words)], cwd=tmp_path, text=True, capture_output=True
    )
    assert (done.returncode, done.stderr) == (143, "genkit: stopped; 'clip.mp4' was finished\n")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"] and len(read(tmp_path / "clip.mp4").frames) == 100


@pytest.mark.parametrize("package", ["genkit", "cyclopts", "genkit.apps.cli"])
def test_ctrl_c_while_packages_are_read(package: str, tmp_path: Path) -> None:
    code = f"""
import os, sys
class Stops:
    def find_spec(self, name, path=None, target=None):
        if name == {package!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Stops())
import genkit_video
sys.exit(genkit_video.main())
"""
    words = [sys.executable, "-c", FRESH + code, "generate", "a", "-o", "clip.mp4"]
    done = subprocess.run(words, cwd=tmp_path, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (130, "genkit: stopped; nothing was written\n")


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """As under nohup."""
    code = MAKING.replace("time.sleep(60)", "sys.stdin.readline(); raise genkit.GenkitError('its own end')")
    text = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + WAITS + code
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    words = [sys.executable, "-c", text + MAIN.format(words=["generate", "a"])]
    child = subprocess.Popen(words, cwd=tmp_path, text=True, **pipes)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGHUP)
    _, said = child.communicate("\n", timeout=60)
    assert (child.returncode, said) == (1, "genkit: its own end\n")


@pytest.mark.parametrize("second", SIGNALS, ids=lambda number: number.name)
def test_a_second_signal_does_not_wait_for_what_cannot_end(second: signal.Signals, tmp_path: Path) -> None:
    code = ENCODING.replace(
        '        print("ready", flush=True)\n        time.sleep(60)',
        "        try:\n            print('ready', flush=True)\n            time.sleep(60)\n"
        "        finally:\n            print('busy', flush=True)\n            time.sleep(60)",
    )
    child = started(code, ["generate", "a", "-o", "clip.mp4"], tmp_path)
    child.send_signal(signal.SIGINT)
    assert child.stdout is not None and child.stdout.readline() == "busy\n"
    child.send_signal(second)
    _, said = child.communicate(timeout=GRACE + 30)
    assert (child.returncode, said) == (130, "genkit: stopped; nothing was written\n")
    assert not list(tmp_path.iterdir())


def test_a_second_signal_leaves_time_to_clean_up(tmp_path: Path) -> None:
    code = MAKING.replace(
        '    print("ready", flush=True)\n    time.sleep(60)',
        "    try:\n        print('ready', flush=True)\n        time.sleep(60)\n"
        "    finally:\n        print('busy', flush=True)\n        time.sleep(0.5)\n        open('cleaned', 'w')",
    )
    child = started(code, ["generate", "a", "-o", "clip.mp4"], tmp_path)
    child.send_signal(signal.SIGHUP)
    assert child.stdout is not None and child.stdout.readline() == "busy\n"
    child.send_signal(signal.SIGHUP)
    _, said = child.communicate(timeout=60)
    assert (child.returncode, said) == (129, "genkit: stopped; nothing was written\n")
    assert (tmp_path / "cleaned").exists()


def test_a_terminal_that_is_gone_changes_no_exit_code(tmp_path: Path) -> None:
    """After SIGHUP nobody reads any more: writing fails."""
    child = started(MAKING, ["generate", "a", "-o", "clip.mp4"], tmp_path)
    assert child.stdout is not None and child.stderr is not None
    child.stdout.close()
    child.stderr.close()
    child.send_signal(signal.SIGHUP)
    assert child.wait(timeout=60) == 129


def test_a_forked_child_dies_of_a_signal_as_if_nothing_had_been_set(tmp_path: Path) -> None:
    code = """
import os, genkit
def make(request, on_event=None):
    lives, says = os.pipe()
    child = os.fork()
    if not child:
        os.write(says, b"1")
        time.sleep(60)
        os._exit(0)
    os.read(lives, 1)
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    print("ready", flush=True)
    time.sleep(60)
genkit.make = make
"""
    child = started(code, ["generate", "a"], tmp_path)
    child.send_signal(signal.SIGTERM)
    assert child.communicate(timeout=60)[1] == "genkit: stopped; nothing was written\n"


def test_handlers_are_as_before_and_those_of_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_others(number: int, frame: object) -> None:
        """Somebody else's."""

    before = [signal.getsignal(number) for number in SIGNALS]
    old = signal.signal(signal.SIGTERM, of_others)
    try:
        with pytest.raises(Stopped) as stopped, orderly_end(for_good=False):
            assert signal.getsignal(signal.SIGTERM) is of_others
            signal.raise_signal(signal.SIGHUP)
        assert exit_code(stopped.value) == 129 and exit_code(KeyboardInterrupt()) == 130
        monkeypatch.setattr(cli, "app", lambda *words, **how: signal.raise_signal(signal.SIGHUP))
        assert cli.main([]) == 129
    finally:
        signal.signal(signal.SIGTERM, old)
    assert [signal.getsignal(number) for number in SIGNALS] == before
