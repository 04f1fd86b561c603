"""The measurement of longer videos: what is made, resumed and written down."""

import json
from typing import Any

from tree import TOP

from genkit.benchmarks.evaluate.ledger import Ledger
from genkit.benchmarks.tiny import longer
from genkit.plugins import catalogue

ABOUT = {"weights": "w", "dtype": "float32", "device": "cpu"}


def row(way: str, number: int, moving: int, kept: int = 17) -> dict[str, Any]:
    return {"way": way, "number": number, "windows": 17, "moving": moving, "kept": kept, "event": moving // 17}


def test_every_prompt_has_one_thing_that_goes_somewhere() -> None:
    scenes = longer.moving_scenes(5)
    assert len(scenes) == 5
    assert all(len(scene.things) == 1 and scene.things[0].motion not in ("still", "spin") for scene in scenes)


def test_every_way_is_a_set_of_plugins_that_exist() -> None:
    assert longer.WAYS["plain"] == ()
    for plugins in longer.WAYS.values():
        for text in plugins:
            catalogue.parse(text)


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Any, monkeypatch: Any) -> None:
    made: list[tuple[str, ...]] = []

    def judge(pipe: Any, scene: Any, plugins: tuple[str, ...], seed: int) -> dict[str, Any]:
        made.append(plugins)
        if len(made) == 3:
            raise KeyboardInterrupt
        return {"windows": 17, "moving": 0, "kept": 17, "event": 0}

    monkeypatch.setattr(longer, "judge", judge)
    for _ in range(2):
        try:
            with Ledger(tmp_path / "rows.jsonl") as ledger:
                longer.run(None, 1, ledger, ABOUT, lambda line: None)
        except KeyboardInterrupt:
            pass
    assert len(made) == len(longer.WAYS) + 1, "only what was stopped is made again"
    assert len(ledger.rows) == len(longer.WAYS)


def test_the_table_shows_shares_of_windows_and_no_interval_from_two_prompts() -> None:
    two = longer.table([row("plain", 0, 0), row("plain", 1, 17)])
    assert "| plain | 2 | 50% | 50% | 100% |" in two
    three = longer.table([row("plain", number, 0) for number in range(3)])
    assert "| plain | 3 | 0% (0% to 71%) | 0% (0% to 71%) | 100% (29% to 100%) |" in three


def test_the_documentation_shows_the_committed_rows() -> None:
    lines = (TOP / "benchmarks/results/longer_tiny.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    page = (TOP / "docs/longer.md").read_text("utf-8")
    assert page.partition(longer.BEGIN)[2].partition(longer.END)[0].strip() == longer.table(rows).strip()
