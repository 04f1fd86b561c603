"""The page on inputs keeps its word: its Python runs, its commands reach the work, and it has every word."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from tree import TOP

import genkit
from genkit.inputs.words import WORDS

PAGE = (TOP / "docs/inputs.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


def test_its_python_runs_in_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks("python"):
        exec(compile(block, "inputs.md", "exec"), {})  # noqa: S102
    assert "'file': 'circle.mp4'" in capsys.readouterr().out
    video = genkit.read("blue.mp4")
    assert video.receipt is not None and len(video.frames) == 17 and video.request["strength"] == 0.8


def test_its_commands_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    from genkit.apps import cli

    reached: list[Any] = []
    monkeypatch.setattr(
        "genkit.apps.commands.generate.produce", lambda request, *rest, **more: reached.append(request) or 0
    )
    monkeypatch.setattr("genkit.video.video.read_request", lambda path: {"prompt": "a", "seed": 1})
    lines = [line for block in blocks("console") for line in block.splitlines()]
    assert all(cli.main(shlex.split(line)[1:]) == 0 for line in lines)
    assert len(reached) == len(lines) and all(request.image or request.video for request in reached)


def test_it_has_every_word_with_its_arguments() -> None:
    for name, word in WORDS.items():
        row = next(line for line in PAGE.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1])
        assert all(f"`{argument}`" in row for argument in word.arguments), name
