"""The README keeps its word: its Python runs, its commands and plug-ins exist, its figures are the committed ones."""

import re
import shlex

import pytest
from tree import TOP

from genkit.plugins import catalogue

README = (TOP / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


@pytest.mark.slow
def test_the_python_blocks_run_in_an_empty_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})  # noqa: S102
    assert list(tmp_path.glob("*.mp4"))
    assert "radial" in capsys.readouterr().out


def commands():
    text = "\n".join(blocks("console")).replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in text.splitlines() if line.startswith("genkit ")]


def test_the_commands_are_understood(monkeypatch):
    """Every `genkit` line of the README gets as far as the work itself."""
    from genkit.apps import cli

    reached = []
    monkeypatch.setattr(
        "genkit.apps.commands.generate.produce", lambda request, *rest, **more: reached.append(request) or 0
    )
    monkeypatch.setattr("genkit.video.video.read_request", lambda path: {"prompt": "a", "seed": 1})
    monkeypatch.setattr("genkit.apps.door.serve.serve", lambda *rest, **more: None)
    monkeypatch.setattr(
        "genkit.benchmarks.evaluate.run.evaluate", lambda *rest, **more: {"metrics": {}, "videos": [], "mode": "fixed"}
    )
    for words in commands():
        assert cli.main(words[1:]) in (0, 1 if "doctor" in words else 0), words
    assert len(reached) == sum(words[1] in ("generate", "rerun") for words in commands()) >= 4


def test_the_table_names_every_plugin():
    for name in catalogue.names():
        cls = catalogue.plugin_class(name)
        row = next(line for line in README.splitlines() if line.startswith(f"| `{cls.__name__}`"))
        assert cls.paper.removeprefix("arXiv ") in row


def test_no_placeholder_is_left():
    assert "MEASURED" not in README


def test_the_figures_of_longer_videos_are_the_committed_ones():
    import json

    from genkit.benchmarks.tiny import longer

    lines = (TOP / "benchmarks/results/longer_tiny.jsonl").read_text("utf-8").splitlines()
    assert longer.table([json.loads(line) for line in lines]) in README
