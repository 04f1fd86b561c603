"""The measurement of planners on the embedded model: resumed without repeating, paired, and told as it is."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tree import TOP

from genkit.attention.calls.run import RunRecord
from genkit.benchmarks.evaluate.ledger import Ledger
from genkit.benchmarks.tiny import planners
from genkit.benchmarks.tiny.planners import (
    DENSE,
    EXTENSIONS,
    Job,
    PlannersConfig,
    check_same,
    jobs,
    measure,
    run,
)
from genkit.benchmarks.tiny.table import BEGIN, END, check_goals, complete, table, write_section
from genkit.errors import UsageError
from genkit.plugins import catalogue
from genkit.plugins.conflicts import check_together
from genkit.plugins.sparse import methods
from genkit.plugins.sparse.method import Sparse
from genkit.record.receipt import Attention, Receipt, Seconds
from genkit.tiny.oracle import ATTRIBUTES
from genkit.tiny.world import caption, parse, render
from genkit.video.recipe import SCHEMA_VERSION
from genkit.video.video import Video

RESULTS = TOP / "benchmarks" / "results" / "planners_tiny.jsonl"
DOCS = TOP / "docs" / "planners.md"
CONFIG = PlannersConfig(prompts=2, frames=17, steps=3, planners=("threshold", "adaspa"), extensions=("none",))
ABOUT = {
    "device": "cpu",
    "device_name": "a chip",
    "threads": 1,
    "versions": {"torch": "2.13.0"},
    "dtype": "float32",
    "weights": "f" * 64,
}


class Maker:
    """Paints what is asked for; sparse videos have one pixel changed, and are counted."""

    def __init__(self, stop: int | None = None) -> None:
        self.asked: list[Job] = []
        self.stop = stop

    def __call__(self, job: Job) -> Video:
        self.asked.append(job)
        if len(self.asked) == self.stop:
            raise KeyboardInterrupt
        clip = render([job.scene], torch.Generator().manual_seed(job.seed), num_frames=17, side=64)[0]
        frames = clip.movedim(1, -1).numpy().copy()
        record = RunRecord()
        if job.planner != DENSE:
            frames[:, 0, 0, 0] = 1 - frames[:, 0, 0, 0]
            self._sparse(record, job.planner)
        return Video(frames, 8.0, receipt=receipt(record))

    def _sparse(self, record: RunRecord, name: str) -> None:
        for density in (0.2, 0.4):
            record.sparse(name, density)
        record.count_backend("dense (warm-up)")
        record.count_backend("dense (warm-up)")
        record.refused(name, "for a reason", "blocks.0.attn1", 2)
        record.refused("freelong", "for another", "blocks.0.attn1", 2)


def receipt(record: RunRecord) -> Receipt:
    return Receipt(
        model="tiny",
        pipeline="WanPipeline",
        device="cpu",
        dtype="float32",
        seed=0,
        frames=17,
        height=64,
        width=64,
        fps=8,
        attention=Attention.from_run(record),
        seconds=Seconds(denoise=2.5),
        started="2026-01-02T03:04:05+00:00",
    )


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def measured(path: Path, maker: Callable[..., Video], config: PlannersConfig = CONFIG) -> list[dict[str, Any]]:
    with Ledger(path) as ledger:
        run(config, maker, ledger, ABOUT, lambda line: None)
    return rows_of(path)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return measured(tmp_path_factory.mktemp("rows") / "rows.jsonl", Maker())


def test_the_dense_video_comes_first_and_all_start_from_its_noise(tmp_path: Path) -> None:
    maker = Maker()
    measured(tmp_path / "rows.jsonl", maker)
    assert [job.plugins for job in maker.asked] == 2 * [
        (),
        (methods.text("threshold", "tiny"),),
        (methods.text("adaspa", "tiny"),),
    ]
    assert [job.seed for job in maker.asked] == [0, 0, 0, 1, 1, 1]
    scenes = [job.scene for job in maker.asked]
    assert len(set(scenes[:3])) == len(set(scenes[3:])) == 1 and scenes[0] != scenes[3]


def test_one_row_by_hand(rows: list[dict[str, Any]]) -> None:
    dense, sparse = rows[0], rows[1]
    assert (dense["density"], dense["psnr"], dense["ssim"], dense["sparse_calls"]) == (1.0, None, None, 0)
    assert sparse["density"] == pytest.approx(0.3)
    assert sparse["with_warm_up"] == pytest.approx((0.2 + 0.4 + 1 + 1) / 4)
    assert (sparse["sparse_calls"], sparse["refused_calls"]) == (2, 1)
    assert sparse["seconds"] == 2.5
    assert set(sparse["right"]) == {*ATTRIBUTES, "joint"}
    assert dense["right"]["joint"] == [1] and sparse["right"]["joint"] == [1]
    assert 40 < sparse["psnr"] < 60 and 0.9 < sparse["ssim"] < 1
    assert len(parse(sparse["prompt"]).things) == sparse["things"]


def test_a_stopped_run_goes_on_without_making_a_row_twice(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = tmp_path / "rows.jsonl"
    with pytest.raises(KeyboardInterrupt):
        measured(path, Maker(stop=5))
    assert len(rows_of(path)) == 4
    path.write_text(path.read_text() + '{"key": "torn')  # as after a power failure
    maker = Maker()
    found = measured(path, maker)
    assert [job.plugins for job in maker.asked] == [
        (),
        (methods.text("threshold", "tiny"),),
        (methods.text("adaspa", "tiny"),),
    ]
    assert found == rows
    more = Maker()
    assert measured(path, more) == rows and not more.asked


def test_more_prompts_begin_with_the_same_ones() -> None:
    few, many = (list(jobs(PlannersConfig(prompts=count, extensions=tuple(EXTENSIONS)))) for count in (2, 4))
    assert many[: len(few)] == few
    assert [group[0].extension for group in few] == 2 * list(EXTENSIONS)


def test_the_extension_is_in_the_dense_video_too() -> None:
    (carried,) = jobs(PlannersConfig(prompts=1, extensions=("freelong",)))
    assert {job.plugins[0] for job in carried} == {"freelong"}
    assert carried[0].planner == DENSE and carried[0].plugins == ("freelong",)


@pytest.mark.parametrize("planner", methods.names())
def test_every_setting_is_a_sparse_method_that_goes_with_every_extension(planner: str) -> None:
    plugin = catalogue.parse(methods.text(planner, "tiny"))
    assert isinstance(plugin, Sparse) and plugin.name == planner
    for extension in EXTENSIONS.values():
        check_together([*map(catalogue.parse, extension), plugin])


def test_every_sparse_method_is_measured() -> None:
    sparse = {name for name in catalogue.names() if "sparse attention" in catalogue.plugin_class(name).claims}
    assert set(PlannersConfig().planners) == sparse


def answers(rows: list[dict[str, Any]], planner: str, joint: list[list[int]], **more: Any) -> list[dict[str, Any]]:
    """The rows with other answers for one planner, prompt by prompt."""
    return [
        {**row, **more, "right": {**row["right"], "joint": joint[row["number"]]}} if row["planner"] == planner else row
        for row in rows
    ]


def test_the_table_by_hand(rows: list[dict[str, Any]]) -> None:
    changed = answers(answers(rows, DENSE, [[1, 1], [1, 0]]), "adaspa", [[1, 0], [0, 0]], psnr=20.0)
    text = table(changed)
    assert "17 frames, 3 steps, a chip (cpu, 1 threads), float32, torch 2.13.0, weights ffffffffffff." in text
    assert "Extension: none. 2 prompts." in text
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert [row[0] for row in cells] == [
        "planner",
        "dense",
        "`threshold:tau=0.65,first_frame=false` (33% of its calls refused)",
        "`adaspa:density=0.33,first_frame=false,dense_layers=1` (33% of its calls refused)",
    ]
    named = dict(zip(cells[0], cells[3], strict=True))
    assert (named["joint"], named["density"], named["with warm-up"]) == ("25.0", "0.300", "0.650")
    assert (named["PSNR"], named["seconds"]) == ("20.0", "2.5")
    assert named["against dense"] == "-50.0", "two prompts have no interval"
    assert dict(zip(cells[0], cells[1], strict=True))["joint"] == "75.0"


def test_a_planner_that_never_ran_is_marked(rows: list[dict[str, Any]]) -> None:
    def with_calls(sparse: int, refused: int) -> str:
        many = [row | {"number": 10 * i + row["number"]} for i in range(4) for row in rows]
        calls = {"sparse_calls": sparse, "refused_calls": refused}
        return table([row | calls if row["planner"] == "adaspa" else row for row in many])

    name = "\n| `adaspa:density=0.33,first_frame=false,dense_layers=1`"
    assert f"{name} |" in with_calls(9, 0)
    assert "not distinguishable: `threshold`, `adaspa`." in " ".join(with_calls(9, 0).split())
    assert f"{name} (25% of its calls refused) |" in with_calls(9, 3)
    assert f"{name} (every call was refused: these videos are dense) |" in with_calls(0, 3)
    assert f"{name} (no call was sparse: these videos are dense) |" in with_calls(0, 0)
    assert "not distinguishable: `threshold`; never sparse: `adaspa`." in " ".join(with_calls(0, 3).split())


def test_only_prompts_that_all_have_are_compared(rows: list[dict[str, Any]]) -> None:
    assert {row["number"] for row in complete(rows[:-1], "none")} == {0}
    assert "1 prompts" in table(rows[:-1])
    with pytest.raises(UsageError, match="no prompt was made by all planners with the extension none yet"):
        complete([rows[0], rows[4]], "none")


@pytest.mark.parametrize(
    ("joint", "density", "reached"),
    [([[1], [1]], 0.35, True), ([[1], [1]], 0.36, False), ([[1], [0]], 0.3, False)],
)
def test_goals_are_checked(rows: list[dict[str, Any]], joint: list[list[int]], density: float, reached: bool) -> None:
    found, said = check_goals(answers(rows, "adaspa", joint, density=density))
    assert found is reached
    goal = "the goal of at least -3 at most 0.35 is"
    assert f"at density {density:.3f}, {goal} {'reached' if reached else 'MISSED'};" in said
    assert f"threshold (extension none): +0.0 points of joint accuracy at density 0.300, {goal} reached" in said


def test_the_extension_with_the_better_dense_videos_is_judged(rows: list[dict[str, Any]]) -> None:
    worse = [{**row, "carrier": "freelong"} for row in answers(rows, DENSE, [[0], [0]])]
    assert "(extension none)" in check_goals([*worse, *rows])[1]


def test_the_section_of_a_page_is_replaced(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Head\n\n{BEGIN}\nold\n{END}\n\nTail\n")
    write_section(page, rows)
    write_section(page, rows)
    assert page.read_text() == f"# Head\n\n{BEGIN}\n{table(rows)}{END}\n\nTail\n"
    page.write_text("no marks")
    with pytest.raises(UsageError, match=f"the page has no place for the table; write {BEGIN} and {END}"):
        write_section(page, rows)


def test_other_weights_or_steps_do_not_mix(rows: list[dict[str, Any]]) -> None:
    check_same(rows, ABOUT, CONFIG, Path("rows.jsonl"))
    with pytest.raises(UsageError, match="'rows.jsonl' contains results with weights='fff.*use another file"):
        check_same(rows, ABOUT | {"weights": "0"}, CONFIG, Path("rows.jsonl"))
    with pytest.raises(UsageError, match="with steps=3, but this run has 20"):
        check_same(rows, ABOUT, PlannersConfig(frames=17), Path("rows.jsonl"))
    with pytest.raises(UsageError, match="with plugins=.'svg'., but this run has .'threshold:tau"):
        check_same([{**rows[1], "plugins": ["svg"]}], ABOUT, CONFIG, Path("rows.jsonl"))
    with pytest.raises(UsageError, match=f"with methods=1, but this run has {SCHEMA_VERSION}"):
        check_same([{name: value for name, value in rows[1].items() if name != "methods"}], ABOUT, CONFIG, Path("r"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompts", "0"], "prompts=0 must be at least 1"),
        (["--frames", "9"], "frames=9 must be at least 17"),
        (["--frames", "37"], r"frames=37 is not 1 + 16 n, a whole multiple of the length"),
        (["--planners", "radail"], "there is no 'radail' to measure; did you mean 'radial'"),
        (["--extensions", "nothing"], "there is no 'nothing' to measure; did you mean 'none'"),
    ],
)
def test_mistakes_get_a_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as stopped:
        planners.main(["--out", str(tmp_path / "rows.jsonl"), *arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_the_real_model_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One prompt, one step beyond the warm-up of one: the videos differ, and the file says by how much."""
    path = tmp_path / "rows.jsonl"
    arguments = ["--prompts", "1", "--steps", "2", "--carriers", "none", "interpolation", "--planners", "adaspa"]
    planners.main(["--out", str(path), *arguments])
    dense, sparse, squeezed, _ = rows_of(path)
    assert sparse["density"] < 0.35 and sparse["refused_calls"] == 0
    assert 5 < sparse["psnr"] < 60
    assert [len(row["right"]["joint"]) for row in (dense, squeezed)] == [4, 1]
    assert dense["prompt"] == caption(parse(dense["prompt"]))
    assert json.dumps(dense["weights"])[1:13] in capsys.readouterr().out


def test_the_documentation_quotes_the_committed_results() -> None:
    section = DOCS.read_text().partition(BEGIN)[2].partition(END)[0]
    wanted = table(rows_of(RESULTS)) if RESULTS.exists() else "Not measured yet.\n"
    assert section == f"\n{wanted}"


def test_a_slow_event_is_read_at_its_own_pace() -> None:
    """What circles around once in 65 frames does not in a window of 17, and every fourth frame shows that it does."""
    scene = parse("a small red star circles around on a navy background")
    clip = render([scene], torch.Generator().manual_seed(0), num_frames=17, side=64)[0].movedim(1, -1).numpy()
    places = np.minimum(np.arange(65) // 4, 16)
    video = Video(clip[places], 8.0, receipt=receipt(RunRecord()))
    job = Job(extension="none", planner=DENSE, number=0, scene=scene, seed=0)
    assert measure(replace(job, extension="interpolation"), video, video)["right"]["joint"] == [1]
    assert measure(job, video, video)["right"]["motion"] == [0, 0, 0, 0]


def test_painted_frames_are_what_the_oracle_reads() -> None:
    """The fake of this file is a fair one."""
    scene = parse("a large red circle moves right on a navy background")
    video = Maker()(Job(extension="none", planner=DENSE, number=0, scene=scene, seed=0))
    assert video.frames.shape == (17, 64, 64, 3) and np.ptp(video.frames) > 0.1
