"""`genkit compare`: one line to several sides, clips made once, measured, reported; refusals before any work."""

import errno
import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_receipt import receipt  # a complete receipt with made-up figures

from genkit.apps.cli import main
from genkit.apps.commands import compare_plan
from genkit.apps.commands.versus import fold, sides_of
from genkit.benchmarks.evaluate.clips import decode
from genkit.benchmarks.networks.lpips_weights import MEMBERS
from genkit.benchmarks.networks.package_member import PackageMember
from genkit.errors import UsageError
from genkit.request import Request
from genkit.video.video import Video, read

FRAMES, SIDE = 6, 32


class FakeModel:
    """Stands for `load` and `make`: noise that the seed decides, moved by the plug-ins; or raises."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.loads: list[str] = []
        self.error: BaseException | None = None
        self.after = 0
        """How many videos are made before the error."""

    def load(self, model: str, **how: Any) -> str:
        self.loads.append(model)
        return "an open pipeline"

    def make(self, request: Request, on_event: Any = None, pipe: Any = None) -> Video:
        assert pipe == "an open pipeline"
        if self.error and len(self.requests) == self.after:
            raise self.error
        self.requests.append(request)
        count = request.num_frames or FRAMES
        noise = np.random.default_rng(request.seed).random((SIDE, SIDE, 3), dtype=np.float32)
        moved = np.stack([np.roll(noise, t * (1 + len(request.plugins)), 1) for t in range(count)])
        ran = receipt(seed=request.seed, frames=count, height=SIDE, width=SIDE, fps=8.0, plugins=request.plugins)
        return Video(moved, 8.0, request.model_dump(mode="json", exclude_none=True), ran)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeModel:
    """A fake model, in an empty working folder."""
    fake = FakeModel()
    monkeypatch.setattr("genkit.making.make", fake.make)
    monkeypatch.setattr("genkit.loading.load", fake.load)
    monkeypatch.setattr("genkit.benchmarks.evaluate.stats.DRAWS", 50)  # how wide an interval is does not matter here
    absent = PackageMember(package="no-such-package", version="1", member="w", sha256="0")
    for net in MEMBERS:
        monkeypatch.setitem(MEMBERS, net, absent)
    monkeypatch.chdir(tmp_path)
    return fake


def run(line: str) -> int:
    return main(["compare", *shlex.split(line)])


LINE = "'a red circle' --model owner/name --seed 5 --with freenoise --versus --with radial:density=0.5 --out run"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("compare P --with A --versus --with B", "compare P --with A '--versus=--with B'"),
        ("compare P --versus", "compare P --versus="),
        (
            "compare P --versus --with A --with=B --out x --versus --num_frames 5 --json",
            "compare P --out x '--versus=--with A --with=B' --json '--versus=--num_frames 5'",
        ),
        ("compare P --versus --set 'a=b c'", "compare P \"--versus=--set 'a=b c'\""),
        ("compare P --with --versus", "compare P --with --versus="),
        ("generate P --versus --with B", "generate P --versus --with B"),
        ("compare P", "compare P"),
        ("", ""),
    ],
)
def test_a_line_is_cut_at_each_versus(line: str, expected: str) -> None:
    assert fold(shlex.split(line)) == shlex.split(expected)


def test_a_side_starts_from_the_first_without_its_plugins() -> None:
    first = Request(prompt="a", seed=3, num_frames=65, plugins=("freenoise",), options={"x": 1, "y": 2})
    sides = sides_of(first, ["--with radial --with=timeline", "--num-frames 17 --set steps=4 --set y=3", ""])
    assert sides[0] is first
    shared = {"prompt": "a", "seed": 3, "num_frames": 65, "options": {"x": 1, "y": 2}}
    assert sides[1] == Request.model_validate(shared | {"plugins": ("radial", "timeline")})
    changed = {"num_frames": 17, "num_inference_steps": 4, "options": {"x": 1, "y": 3}}
    assert sides[2] == Request.model_validate(shared | changed)
    assert sides[3] == Request.model_validate(shared)


REFUSED = {
    "a --with freenoise": "a comparison needs two or more sides; add --versus",
    "a --versus": "sides 1 and 2 are the same: plain; change one of them",
    "a --with freenoise --versus --with radial --versus --with radial:density=0.3 --versus --with radial": (
        "sides 2 and 4 are the same: radial"
    ),
    "a --versus --with radail": "there is no plug-in called 'radail'; did you mean 'radial'?",
    "a --versus --with freenoise --with freelong": "freenoise and freelong cannot be combined",
    "a --versus --with radial:dense=1": "radial has no parameter 'dense'",
    "a --versus --set seed=4": "side 2 sets seed, which all sides share; set it once, before --versus",
    "a --versus --set model=x": "side 2 sets model, which all sides share",
    "a --versus --set lora=x.safetensors": "side 2 sets lora, which all sides share",
    "a --versus --set flow_shift=5": "side 2 sets flow_shift, which all sides share",
    "a --versus --with": "--with of side 2 requires a value",
    "a --versus='--out x'": "side 2 has '--out'; a side takes --with, --set, --num-frames",
    "a --versus --num-frames x": "num_frames='x' cannot be used: input should be a valid integer",
    "a --versus --wiht freenoise": "Unknown option: --wiht. Did you mean --with?",
    "a --versus --with radial --seeds 0": "--seeds 0 must be at least 1",
    "a --versus --with radial --prompts absent.txt": "cannot read the prompts in 'absent.txt': No such file",
    "a --versus --with radial --prompts empty.txt": "'empty.txt' contains no prompt; write one per line",
    "a --versus --with radial --prompts twice.txt": "the prompt 'a' is given twice",
    "a --versus --with radial --out /dev/null/run": "cannot write '/dev/null/run/clip.mp4'",
    "a --versus --with radial --resume": "--resume continues a comparison; name its folder with --out",
}


@pytest.mark.parametrize("line", REFUSED)
def test_refusals_come_before_any_work(line: str, model: FakeModel, capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "twice.txt").write_text("b\na\n")
    assert run(line) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and REFUSED[line] in err
    assert model.loads == [] and sorted(path.name for path in tmp_path.iterdir()) == ["empty.txt", "twice.txt"]


def test_a_comparison_from_the_line_to_the_report(model: FakeModel, capsys: Any, tmp_path: Path) -> None:
    assert run(f"{LINE} --seeds 2") == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "run/report.html" and "radial:density=0.5 against freenoise: " in out
    assert err.splitlines()[0] == "1/4 freenoise, prompt1-seed5"
    assert model.loads == ["owner/name"], "the model is opened once"
    assert [(request.plugins, request.seed) for request in model.requests] == [
        (plugins, seed) for seed in (5, 6) for plugins in (("freenoise",), ("radial:density=0.5",))
    ]
    numbers = json.loads(Path("run/report.json").read_text())
    assert [side["name"] for side in numbers["sides"]] == ["freenoise", "radial:density=0.5"]
    psnr = numbers["metrics"]["similarity.psnr"]["sides"]
    assert psnr[0]["clips"] == [] and [len(clip["curve"]) for clip in psnr[1]["clips"]] == [FRAMES] * 2
    assert len(numbers["metrics"]["lite.flicker"]["sides"][0]["clips"][0]["curve"]) == FRAMES - 1
    assert not any(name.startswith(("sprites", "similarity.lpips")) for name in numbers["metrics"])
    missing = "was not measured: it needs package no-such-package 1: pip install --no-deps no-such-package==1"
    assert numbers["notes"] == [f"similarity.lpips_{net} {missing}" for net in ("alex", "vgg")]
    page = Path("run/report.html").read_text()
    shown = {
        (m, int(s)): float(v)
        for m, s, v in re.findall(r'data-metric="(\S+)" data-side="(\d)" data-value="(\S+)"', page)
    }
    for (metric, side), value in shown.items():
        assert value == numbers["metrics"][metric]["sides"][side]["value"]["value"]
    assert len(shown) > 10 and page.count("<video ") == 4


def test_the_same_noise_is_the_same_video(model: FakeModel, tmp_path: Path, capsys: Any) -> None:
    """Two sides whose names differ and whose videos do not are alike in every number."""
    assert run("a --model m --seed 1 --with freenoise --versus --with radial --out run") == 0
    videos = [decode(path).frames for path in sorted(tmp_path.glob("run/frames/*/prompt1-seed1.npz"))]
    assert len(videos) == 2 and np.array_equal(*videos) and videos[0].dtype == np.uint8
    numbers = json.loads(Path("run/report.json").read_text())
    assert numbers["metrics"]["similarity.psnr"]["sides"][1]["value"]["value"] == 100
    assert [side["same_videos"] for side in numbers["sides"]] == [0, 1]
    assert (
        "radial against freenoise: the same video, bit for bit: the difference between the two had no effect"
        in capsys.readouterr().out
    )


def test_the_videos_hold_their_recipes(model: FakeModel, tmp_path: Path) -> None:
    assert run("a --model m --seed 1 --versus --with radial --num-frames 9 --out run") == 0
    video = read(tmp_path / "run/videos/2-radial-num-frames-9/prompt1-seed1.mp4")
    assert video.request["seed"] == 1 and video.request["plugins"] == ["radial"] and len(video.frames) == 9
    numbers = json.loads(Path("run/report.json").read_text())
    assert numbers["notes"][-1] == "No similarity of radial, num_frames=9 to plain: it has 9 frames and not 6."
    assert not any(name.startswith("similarity") for name in numbers["metrics"])
    assert numbers["notes"][-1].replace("'", "&#39;") in Path("run/report.html").read_text()


def test_prompts_from_a_file(model: FakeModel, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("a blue square\n\n  a star \n")
    assert run("a --model m --seed 1 --seeds 2 --prompts more.txt --versus --with radial --out run") == 0
    assert [(r.prompt, r.seed) for r in model.requests[::2]] == [
        (prompt, seed) for prompt in ("a", "a blue square", "a star") for seed in (1, 2)
    ]
    numbers = json.loads(Path("run/report.json").read_text())
    assert numbers["unit"] == "prompts"
    value = numbers["metrics"]["lite.flicker"]["sides"][0]["value"]
    assert (value["prompts"], value["videos"]) == (3, 6)


def test_a_stopped_comparison_goes_on(model: FakeModel, capsys: Any, tmp_path: Path) -> None:
    model.error, model.after = KeyboardInterrupt(), 3
    assert run(f"{LINE} --seeds 2") == 130
    assert "stopped; use --out run --resume to continue" in capsys.readouterr().err
    assert len(model.requests) == 3 and not Path("run/report.html").exists()
    assert run(f"{LINE} --seeds 2") == 2
    assert "'run' already contains a comparison; use --resume to continue" in capsys.readouterr().err
    model.error = None
    assert run(f"{LINE} --seeds 2 --resume") == 0
    assert len(model.requests) == 4 and model.requests[-1].seed == 6
    capsys.readouterr()
    before = {
        path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.suffix in (".mp4", ".npz", ".jsonl")
    }
    assert run(f"{LINE} --seeds 2 --resume --json") == 0
    assert len(model.requests) == 4 and len(model.loads) == 2, "with nothing to make the model is not opened"
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    assert json.loads(capsys.readouterr().out) == json.loads(Path("run/report.json").read_text())


def test_a_report_that_cannot_be_written_is_written_by_the_command_that_is_named(
    model: FakeModel, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nobody named the folder."""
    line = LINE.removesuffix(" --out run")

    with monkeypatch.context() as disk:
        disk.setattr("genkit.files.whole.os.replace", refusing_reports)
        assert run(line) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "No space left on device; all videos and measurements are kept: the same command with --out " in said
    words = said.partition("the same command with ")[2].partition(" writes it")[0]
    assert run(f"{line} {words}") == 0 and len(model.requests) == 2 and len(model.loads) == 1
    assert len(list(Path("outputs").glob("*/report.html"))) == 1


def refusing_reports(part: Path, target: Path) -> None:
    if Path(target).name == "report.html":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.rename(part, target)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{LINE} --seeds 2 --resume", "'run' contains a comparison with other seeds; name another folder"),
        (LINE.replace("red", "blue") + " --resume", "with other prompts"),
        (LINE.replace("0.5", "0.6") + " --resume", "with other sides"),
    ],
)
def test_another_comparison_does_not_go_into_the_folder(
    line: str, message: str, model: FakeModel, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.error = KeyboardInterrupt()
    assert run(LINE) == 130
    capsys.readouterr()
    assert run(line) == 2 and message in capsys.readouterr().err
    Path("run/plan.json").write_text("{")
    assert run(f"{LINE} --resume") == 2 and "'run/plan.json' is damaged" in capsys.readouterr().err


def test_a_drawn_seed_is_kept(model: FakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model.error, model.after = KeyboardInterrupt(), 1
    assert run("a --model m --versus --with radial --out run") == 130
    model.error = None
    assert run("a --model m --versus --with radial --out run --resume") == 0
    assert model.requests[0].seed == model.requests[1].seed is not None


def test_without_a_folder_a_new_one_is_made(model: FakeModel, tmp_path: Path) -> None:
    first = compare_plan.folder_for(None, False)
    assert re.fullmatch(r"outputs/comparison-\d{4}-\d\d-\d\d", str(first))
    first.mkdir(parents=True)
    assert compare_plan.folder_for(None, False) == first.with_name(first.name + "-2")


def test_names_tell_what_differs() -> None:
    first = Request(prompt="a", seed=1, plugins=("radial:density=0.5", "freenoise"))
    sides = sides_of(first, ["--with freelong --steps 4", "--set strength=0.5"])
    plan = compare_plan.make_plan(sides, ["b"], 2, None)
    assert plan.names == [
        "freenoise + radial:density=0.5",
        "freelong, num_inference_steps=4",
        "plain, strength=0.5",
    ]
    assert plan.folders[2] == "3-plain-strength-0.5"
    assert [take.name for take in plan.takes] == [f"prompt{p}-seed{s}" for p in (1, 2) for s in (1, 2)]
    assert (plan.request(1, 3).prompt, plan.request(1, 3).seed, plan.request(1, 3).plugins) == ("b", 2, ("freelong",))
    with pytest.raises(UsageError, match="sides 1 and 2 are the same: freenoise"):
        order = [
            Request(prompt="a", plugins=("radial", "freenoise")),
            Request(prompt="a", plugins=("freenoise", "radial")),
        ]
        compare_plan.make_plan(order, [], 1, None)


def test_what_a_prompt_holds_stays_text(model: FakeModel) -> None:
    evil = "<img src=x onerror=alert(1)> ../../x \u202e"
    assert main(["compare", evil, "--model", "m", "--seed", "1", "--versus", "--with", "radial", "--out", "run"]) == 0
    page = Path("run/report.html").read_text("utf-8")
    assert "<img src=x" not in page and "&lt;img src=x onerror=alert(1)&gt;" in page
    assert sorted(path.name for path in Path("run/videos").iterdir()) == ["1-plain", "2-radial"]
