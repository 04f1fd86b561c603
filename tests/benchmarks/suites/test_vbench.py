"""The suite of VBench from files to results: stand-ins for the networks whose answers are known by hand.

The stand-ins are installed as packages of the same names, so that finding, loading and calling them is the real thing.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from vbench_networks import clip_checkpoint, dino_checkpoint

from genkit.apps.cli import main
from genkit.benchmarks.evaluate import clips
from genkit.benchmarks.evaluate.comparison import compare
from genkit.benchmarks.evaluate.metric import Sample
from genkit.benchmarks.evaluate.registry import find_suite
from genkit.benchmarks.evaluate.run import LEDGER, evaluate, failures
from genkit.benchmarks.evaluate.stats import Stat
from genkit.benchmarks.networks import weight_files
from genkit.benchmarks.suites.vbench import DIMENSIONS, MODES, dimension, suite_with
from genkit.benchmarks.suites.vbench_dimensions import BackgroundConsistency, SubjectConsistency
from genkit.errors import GenkitError, UsageError
from genkit.video.video import Video

AMT = """
from torch import nn, ones
class Model(nn.Module):
    def __init__(self, corr_radius, corr_lvls, num_flows):
        super().__init__()
        self.gain = nn.Parameter(ones(1))
    def forward(self, before, after, embt, scale_factor, eval):
        assert scale_factor == 1 and eval and embt.shape == (1, 1, 1, 1)
        assert before.shape[-2] % 16 == 0 and before.shape[-1] % 16 == 0
        return {"imgt_pred": self.gain * (before * embt + after * (1 - embt))}
"""
FLOW = """
import torch
from torch import nn
class Raft(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
    def forward(self, before, after, num_flow_updates):
        # The flow points right by as many pixels as the brightness grows by levels.
        assert num_flow_updates == 20 and before.shape[-2] % 8 == 0 and before.abs().max() <= 1
        grown = self.gain * (after - before).mean(1, keepdim=True) * 127.5
        return [None, torch.cat([grown, torch.zeros_like(grown)], 1)]
def raft_large(weights, progress):
    return Raft()
"""
MUSIQ = """
from torch import nn, ones
class MUSIQ(nn.Module):
    def __init__(self, pretrained, num_class):
        super().__init__()
        self.gain = nn.Parameter(ones(1))
    def forward(self, picture):
        assert picture.shape[0] == 1
        return 100 * self.gain * picture.mean().view(1, 1)
"""
SIDE = 128


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Stand-ins for vbench, torchvision and pyiqa, first on the path; none of the first and last can be run whole."""
    # transformers asks once whether torchvision is there, and should see the real state.
    from transformers import CLIPVisionModelWithProjection, ViTModel  # noqa: F401

    folder = tmp_path_factory.mktemp("packages")
    write(folder / "vbench" / "__init__.py", "raise ImportError('decord')\n")
    write(folder / "vbench" / "third_party" / "amt" / "networks" / "AMT-S.py", AMT)
    write(folder / "pyiqa" / "__init__.py", "raise ImportError('everything')\n")
    write(folder / "pyiqa" / "archs" / "musiq_arch.py", MUSIQ)
    write(folder / "torchvision" / "__init__.py", "")
    write(folder / "torchvision" / "models" / "__init__.py", "")
    write(folder / "torchvision" / "models" / "optical_flow.py", FLOW)
    real = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "torchvision"}
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    sys.modules.update(real)
    weight_files._network.cache_clear()


@pytest.fixture(scope="module")
def files(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A weight file of every backbone."""
    states = {
        "dino-vitb16": dino_checkpoint(64, patch=32),
        "clip-vitb32": clip_checkpoint(64),
        "clip-vitl14": clip_checkpoint(64, out=8, seed=2),
        "aesthetic-head": {"weight": torch.zeros(1, 8), "bias": torch.tensor([5.0])},
        "amt-s": {"state_dict": {"gain": torch.ones(1)}},
        "raft-things": {"module.gain": torch.ones(1)},
        "musiq-spaq": {"gain": torch.ones(1)},
    }
    folder = tmp_path_factory.mktemp("weights")
    for name, state in states.items():
        torch.save(state, folder / f"{name}.pth")
    return {name: folder / f"{name}.pth" for name in states}


@pytest.fixture(autouse=True)
def nothing_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights on this machine but those that a test names."""
    monkeypatch.setattr("genkit.benchmarks.networks.weight_files._in_folder", lambda backbone: None)
    monkeypatch.setattr("genkit.benchmarks.networks.weight_files._in_caches", lambda backbone: None)


def ramp(step: int, count: int, start: int = 20) -> NDArray[np.uint8]:
    """Grey frames that grow by ``step`` levels each."""
    levels = np.arange(start, start + step * count, step, np.uint8) if step else np.full(count, start, np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, SIDE, SIDE + 16, 3)).copy()


def textured(seed: int, count: int) -> NDArray[np.uint8]:
    """Frames that differ from one another."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE + 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of raw frames at 8 a second, of 3 prompts, short and long."""
    folder = tmp_path_factory.mktemp("videos")
    shown = [ramp(0, 3), ramp(10, 2), textured(1, 6), ramp(5, 9), textured(2, 3), ramp(2, 4)]
    for index, frames in enumerate(shown):
        clips.save_raw(Video(frames, 8.0), folder / f"prompt {index // 2}-{index % 2}.npz")
    return folder


def measure(name: str, frames: NDArray[np.uint8], files: dict[str, Path], mode: Any = MODES[0], fps: float = 8) -> Stat:
    """What a mode says of one video."""
    metric = dimension(name, mode=mode, backbones=files)
    return metric.report(metric.measure(Sample(Video(frames, fps))))


def test_a_frozen_clip_is_consistent_steady_and_does_not_move(files: dict[str, Path]) -> None:
    for name in ("subject_consistency", "background_consistency", "temporal_flickering", "motion_smoothness"):
        assert measure(name, textured(0, 1).repeat(5, 0), files).value == pytest.approx(1, abs=1e-6), name
    assert measure("dynamic_degree", ramp(0, 8), files).value == 0


def test_what_the_networks_say_by_hand(files: dict[str, Path]) -> None:
    """51 of 255 levels are MUSIQ's 20; the head says 5 of 10 to everything; a constant growth is in the middle."""
    assert measure("imaging_quality", ramp(0, 2, 51), files).value == pytest.approx(20)
    assert measure("imaging_quality", ramp(0, 2, 51), files, "fixed").value == pytest.approx(0.2)
    assert measure("aesthetic_quality", textured(3, 2), files).value == pytest.approx(0.5)
    assert measure("motion_smoothness", ramp(10, 5), files).value == pytest.approx(1)
    jump = ramp(0, 3)
    jump[1] += 51
    assert measure("motion_smoothness", jump, files).value == pytest.approx(0.8)
    other = measure("subject_consistency", textured(4, 3), files).value
    assert other is not None and 0 <= other < 1 - 1e-6


def test_the_dynamic_degree_by_hand(files: dict[str, Path]) -> None:
    """At a shorter side of 128 pixels more than 3 pixels count as moving; 16 frames at 16 a second leave 8."""
    assert measure("dynamic_degree", ramp(4, 8), files).value == 1
    assert measure("dynamic_degree", ramp(3, 8), files).value == 0
    assert measure("dynamic_degree", ramp(2, 16), files, fps=16).value == 1  # 4 pixels between every second frame
    assert measure("dynamic_degree", ramp(2, 16), files, fps=8).value == 0
    assert measure("dynamic_degree", ramp(3, 8), files).curve == pytest.approx((6,) * 7, abs=1e-4)
    assert (
        measure("dynamic_degree", ramp(0, 2), files).value,
        measure("dynamic_degree", ramp(0, 2), files, "fixed").value,
    ) == (1, 0)
    with pytest.raises(GenkitError, match="frames of 64x144 are too small for RAFT; it needs 128 pixels a side"):
        measure("dynamic_degree", ramp(4, 8)[:, ::2], files)
    with pytest.raises(GenkitError, match="frames of 112x144 are too small for AMT; it needs 128 pixels a side"):
        measure("motion_smoothness", ramp(4, 8)[:, :112], files)
    assert measure("motion_smoothness", ramp(10, 5)[:, :113], files).value == pytest.approx(1)


def test_a_strobe_is_worse_than_a_still(files: dict[str, Path]) -> None:
    strobe = ramp(0, 6)
    strobe[::2] = 255
    assert measure("temporal_flickering", strobe, files).value == pytest.approx(20 / 255)


def test_floats_are_measured_as_their_8_bits(files: dict[str, Path]) -> None:
    frames = textured(5, 3)
    metric = dimension("temporal_flickering")
    exact = metric.measure(Sample(Video(frames, 8.0)))
    assert metric.measure(Sample(Video(frames.astype(np.float32) / 255, 8.0))) == exact


def test_one_ledger_is_read_in_both_modes(
    videos: Path, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second mode decodes nothing; both aggregates follow from the same rows by hand."""
    run = tmp_path / "run"
    official = evaluate(suite_with(mode="vbench-0.1.5", backbones=files), [videos], run)
    lines = (run / LEDGER).read_text().splitlines()
    monkeypatch.setattr("genkit.benchmarks.evaluate.run.decode_tagged", lambda path: pytest.fail("decoded again"))
    fixed = evaluate(suite_with(mode="fixed", backbones=files), [videos], run, resume=True)
    assert (run / LEDGER).read_text().splitlines() == lines and len(lines) == 6 * 7
    assert (official["mode"], fixed["mode"]) == MODES
    short = {"prompt 0-1.npz": "motion smoothness needs at least 3 frames; the video has 2"}
    assert failures(official) == failures(fixed) == short

    def values(results: dict[str, Any], name: str) -> list[tuple[float, float]]:
        rows = [video["metrics"][f"vbench.{name}"] for video in results["videos"]]
        return [(row["sum"], row["weight"]) for row in rows if row.get("weight")]

    def aggregate(results: dict[str, Any], name: str) -> float:
        return results["metrics"][f"vbench.{name}"]["value"]

    for name in ("subject_consistency", "background_consistency"):
        sums, weights = np.array(values(official, name)).T
        assert weights.tolist() == [2, 1, 5, 8, 2, 3]
        assert aggregate(official, name) == pytest.approx(sums.sum() / weights.sum())
        assert aggregate(fixed, name) == pytest.approx((sums / weights).mean())
        assert abs(aggregate(official, name) - aggregate(fixed, name)) > 1e-3
    for name in ("temporal_flickering", "aesthetic_quality"):
        assert aggregate(official, name) == aggregate(fixed, name)
        assert official["metrics"][f"vbench.{name}"]["mode_effect"] == ""
    # Grey levels 20, 25 (mean of 20 and 30), noise, 40, noise and 23 over 255, as MUSIQ's stand-in has it.
    assert values(official, "imaging_quality")[3] == pytest.approx((9 * 100 * 40 / 255, 9))
    assert values(fixed, "imaging_quality")[3] == pytest.approx((9 * 40 / 255, 9))
    assert aggregate(official, "imaging_quality") == pytest.approx(aggregate(fixed, "imaging_quality"))
    # Still; 2 frames; noise; 5 levels a frame; noise; 2 levels a frame. Noise of flow is fast everywhere.
    assert [s / w for s, w in values(official, "dynamic_degree")] == [0, 1, 1, 1, 1, 0]
    low, high = (official["metrics"]["vbench.subject_consistency"][end] for end in ("low", "high"))
    assert low <= aggregate(official, "subject_consistency") <= high


def test_the_interval_is_that_of_the_aggregate(videos: Path, files: dict[str, Path], tmp_path: Path) -> None:
    """In the official mode MUSIQ's interval is in the unit of the aggregate, not of the videos."""
    only = ("imaging_quality",)
    one, two = (
        evaluate(suite_with(mode=mode, backbones=files, only=only), [videos], tmp_path / mode)["metrics"]
        for mode in MODES
    )
    for end in ("low", "value", "high"):
        found, other = (metrics["vbench.imaging_quality"][end] for metrics in (one, two))
        assert 0 < found < 1 and found == pytest.approx(other)


def test_the_order_of_the_videos_does_not_matter(videos: Path, files: dict[str, Path], tmp_path: Path) -> None:
    suite = suite_with(backbones=files, only=("temporal_flickering", "dynamic_degree", "subject_consistency"))
    paths = sorted(videos.iterdir())
    assert evaluate(suite, paths, tmp_path / "a") == evaluate(suite, paths[::-1], tmp_path / "b")


def test_other_weights_are_measured_again(videos: Path, files: dict[str, Path], tmp_path: Path) -> None:
    only = ("subject_consistency", "dynamic_degree")
    clip = videos / "prompt 0-1.npz"
    first = evaluate(suite_with(backbones=files, only=only), [clip], tmp_path / "run")
    torch.save(dino_checkpoint(64, patch=32, seed=9), tmp_path / "dino.pth")
    changed = suite_with(backbones=files | {"dino-vitb16": tmp_path / "dino.pth"}, only=only)
    second = evaluate(changed, [clip], tmp_path / "run", resume=True)
    assert len((tmp_path / "run" / LEDGER).read_text().splitlines()) == 3
    name = "vbench.subject_consistency"
    assert first["metrics"][name]["identity"]["weights"] != second["metrics"][name]["identity"]["weights"]
    assert first["metrics"][name]["value"] != second["metrics"][name]["value"]


def test_comparisons_follow_the_mode(videos: Path, files: dict[str, Path], tmp_path: Path) -> None:
    """MUSIQ's difference is in the unit of the aggregate; runs of two modes are refused."""
    darker = tmp_path / "darker"
    darker.mkdir()
    for path in videos.iterdir():
        video = clips.decode(path)
        clips.save_raw(Video(video.frames // 2, 8.0), darker / path.name)
    only = ("imaging_quality", "subject_consistency", "dynamic_degree")
    suite = suite_with(backbones=files, only=only)
    evaluate(suite, [videos], tmp_path / "a")
    evaluate(suite, [darker], tmp_path / "b")
    rows = {row.metric: row for row in compare([tmp_path / "a", tmp_path / "b"])}
    for row in rows.values():
        assert row.difference.value == pytest.approx(row.value - row.base_value), row.metric
    assert -0.5 < rows["vbench.imaging_quality"].difference.value < 0
    evaluate(suite_with(mode="fixed", backbones=files, only=only), [darker], tmp_path / "b", resume=True)
    with pytest.raises(UsageError, match="is in mode 'vbench-0.1.5' and .* in 'fixed'; read both in one mode with"):
        compare([tmp_path / "a", tmp_path / "b"])


def test_drawn_weights_stamp_every_output(videos: Path, files: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    words = ["eval", "run", "--suite", "vbench", "--only", "dynamic_degree", "--only", "imaging_quality"]
    words += ["--allow-random", str(videos), "--out", str(tmp_path / "run")]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "vbench.dynamic_degree (RANDOM WEIGHTS)" in out and "vbench.imaging_quality (RANDOM WEIGHTS)" in out
    assert "mode: vbench-0.1.5" in out and "only the aggregate is divided by 100" in out
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    for metric in results["metrics"].values():
        assert metric["weights"] == "random" and list(metric["identity"]["weights"].values()) == ["random, seed 0"]
    evaluate(suite_with(allow_random=True, only=("dynamic_degree",)), [videos], tmp_path / "other")
    assert main(["eval", "compare", str(tmp_path / "run"), str(tmp_path / "other")]) == 0
    assert "vbench.dynamic_degree (RANDOM WEIGHTS)" in capsys.readouterr().out
    real = evaluate(suite_with(backbones=files, only=("dynamic_degree",)), [videos], tmp_path / "real")
    assert "weights" not in real["metrics"]["vbench.dynamic_degree"]


def test_nothing_starts_without_its_weights(videos: Path, packages: Path, tmp_path: Path, capsys: Any) -> None:
    words = ["eval", "run", "--suite", "vbench", str(videos), "--out", str(tmp_path / "run")]
    assert main(words) == 1
    err = capsys.readouterr().err
    assert "6 of the 7 metrics of suite 'vbench' cannot run" in err and "dino_vitbase16_pretrain.pth" in err
    assert not (tmp_path / "run").exists()
    with pytest.raises(GenkitError, match="vbench.motion_smoothness needs file amt-s.pth: put it into"):
        dimension("motion_smoothness").measure(Sample(Video(ramp(1, 4), 8.0)))


def test_a_broken_weight_file_ends_the_run_and_no_video_is_blamed(
    videos: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    """The row stays open: with the right file the run goes on."""
    torch.save({"gain": torch.ones(1), "more": torch.ones(1)}, tmp_path / "musiq.pth")
    broken, only = files | {"musiq-spaq": tmp_path / "musiq.pth"}, ("dynamic_degree", "imaging_quality")
    with pytest.raises(GenkitError, match="musiq.pth' is not a checkpoint of musiq-spaq: .*more"):
        evaluate(suite_with(backbones=broken, only=only), [videos], tmp_path / "run")
    assert [json.loads(line)["metric"] for line in (tmp_path / "run" / LEDGER).read_text().splitlines()] == [
        "vbench.dynamic_degree"
    ]
    evaluate(suite_with(backbones=files, only=only), [videos], tmp_path / "run", resume=True)


def test_the_doctor_names_every_file_and_package(packages: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["eval", "doctor", "--suite", "vbench"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("vbench.temporal_flickering")] == ["ready"]
    wanted = [
        "dino_vitbase16_pretrain.pth", "ViT-B-32.pt", "amt-s.pth", "raft-things.pth", "ViT-L-14.pt",
        "sa_0_4_vit_l_14_linear.pth", "musiq_spaq_ckpt-358bb6af.pth",
    ]  # fmt: skip
    assert [line.split("missing file ")[1].split(":")[0] for line in lines if "missing file" in line] == wanted
    assert all("published at https://" in line for line in lines if "missing file" in line)
    assert not [line for line in lines if "missing package" in line]
    monkeypatch.setattr("genkit.benchmarks.networks.weight_files.find_spec", lambda name: None)
    assert main(["eval", "doctor", "--suite", "vbench", "--json"]) == 1
    rows = {row["metric"]: row["wants"] for row in json.loads(capsys.readouterr().out)}
    assert rows["vbench.motion_smoothness"][0].startswith("package vbench: pip install --no-deps vbench==0.1.5")
    assert [want.split(":")[0] for want in rows["vbench.imaging_quality"][:2]] == [
        "package pyiqa",
        "package torchvision",
    ]
    assert rows["vbench.temporal_flickering"] == []


def test_a_whole_installation_is_ready(files: dict[str, Path], capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genkit.benchmarks.networks.weight_files._in_folder", lambda backbone: files[backbone.key])
    assert main(["eval", "doctor", "--suite", "vbench"]) == 0
    assert [line.split()[1:] for line in capsys.readouterr().out.splitlines()] == [["ready"]] * 7


def test_files_are_read_by_their_colour_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a tag a file is BT.601, as VBench's readers take it; genkit's own files say BT.709."""
    av = pytest.importorskip("av")
    red = np.zeros((3, 64, 64, 3), np.uint8)
    red[..., 0] = 200
    with av.open(str(tmp_path / "untagged.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=8, options={"crf": "1"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for frame in red:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    Video(red, 8.0).save(tmp_path / "tagged.mp4", enlarge=1, crf=1)
    for name in ("untagged.mp4", "tagged.mp4"):
        found = clips.decode_tagged(tmp_path / name).frames.astype(int)
        assert np.abs(found - red).max() <= 4, name
        assert np.abs(clips.decode(tmp_path / name).frames.astype(int) - red).max() <= 1, name
    monkeypatch.setattr("genkit.files.colours.UNTAGGED", "bt709")
    assert np.abs(clips.decode(tmp_path / "untagged.mp4").frames.astype(int) - red).max() > 15


def test_what_does_not_exist(tmp_path: Path) -> None:
    assert issubclass(BackgroundConsistency, SubjectConsistency) and len(DIMENSIONS) == 7
    with pytest.raises(UsageError, match="there is no dimension 'dynamics' of VBench; did you mean 'dynamic_degree'"):
        suite_with(only=("dynamics",))
    with pytest.raises(UsageError, match="there is no mode 'official' of VBench; it is vbench-0.1.5 or fixed"):
        find_suite("vbench", mode="official")
    with pytest.raises(UsageError, match="there is no backbone 'dino'"):
        suite_with(backbones={"dino": tmp_path})
    with pytest.raises(UsageError, match="would report vbench.subject_consistency without a metric of dynamics"):
        suite_with(only=("subject_consistency",))
    with pytest.raises(UsageError, match="suite 'lite' has no modes; leave --mode out"):
        find_suite("lite", mode="fixed")
    with pytest.raises(UsageError, match="suite 'lite' has no networks; leave --allow-random out"):
        find_suite("lite", allow_random=True)
    with pytest.raises(UsageError, match="suite 'lite' has no metric 'flick'; did you mean 'flicker'"):
        find_suite("lite", only=["flick"])
    assert [m.name for m in find_suite("lite", only=["seam_jump", "lite.repetition"]).metrics] == [
        "lite.seam_jump",
        "lite.repetition",
    ]
