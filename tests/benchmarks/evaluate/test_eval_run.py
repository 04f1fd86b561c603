"""An evaluation from files to results: kills leave no trace, bad files are told, the rest goes on."""

import errno
import json
import multiprocessing
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genkit.apps.cli import main
from genkit.benchmarks.evaluate import clips
from genkit.benchmarks.evaluate.registry import find_suite
from genkit.benchmarks.evaluate.run import LEDGER, RESULTS, evaluate, failures
from genkit.benchmarks.suites import lite
from genkit.errors import GenkitError, UsageError
from genkit.tiny.world import EXAMPLE, caption, render
from genkit.video.video import Video

KILLS = 20
PROMPT = caption(EXAMPLE)


def moving(seed: int, frames: int = 5) -> Video:
    """A painted clip of 64 x 64."""
    shown = render([EXAMPLE], torch.Generator().manual_seed(seed), num_frames=frames, side=64)[0]
    return Video(shown, 8.0, {"prompt": f"{PROMPT}", "seed": seed})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight files of raw frames, two for each of four prompts that are read from the names."""
    folder = tmp_path_factory.mktemp("videos")
    for i in range(8):
        frames = moving(i).frames
        np.savez(folder / f"prompt {i // 2}-{i % 2}.npz", frames=frames, fps=8.0)
    return folder


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One good file and one of every bad kind."""
    folder = tmp_path_factory.mktemp("bad")
    good = moving(0).save(folder / "good.mp4", enlarge=1, metadata=False)
    (folder / "cut short.mp4").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (folder / "empty.mp4").touch()
    (folder / "empty too.mp4").touch()
    Video(moving(0).frames[:1], 8.0).save(folder / "single.mp4", enlarge=1, metadata=False)
    (folder / "text.mp4").write_text("this is no video\n" * 50)
    (folder / "text.npz").write_text("no frames either")
    return folder


def ledger_keys(run: Path) -> list[str]:
    return [json.loads(line)["key"] for line in (run / LEDGER).read_text().splitlines()]


def test_results_hold_every_measurement(folder: Path, tmp_path: Path) -> None:
    results = evaluate(find_suite("lite"), [folder], tmp_path / "run")
    assert json.loads((tmp_path / "run" / RESULTS).read_text()) == results
    assert list(results["metrics"]) == [metric.name for metric in lite.SUITE.metrics]
    flicker = results["metrics"]["lite.flicker"]
    assert (flicker["videos"], flicker["prompts"], flicker["missing"]) == (8, 4, 0)
    assert flicker["low"] <= flicker["value"] <= flicker["high"]
    assert flicker["identity"]["preprocessing"] == "rgb"
    assert {video["prompt"] for video in results["videos"]} == {f"prompt {i}" for i in range(4)}
    first = results["videos"][0]
    assert first["name"] == "prompt 0-0.npz" and len(first["metrics"]["lite.flicker"]["curve"]) == 4
    assert len(set(ledger_keys(tmp_path / "run"))) == 8 * 6


def test_results_of_somebody_else_are_not_written_over(folder: Path, tmp_path: Path) -> None:
    (tmp_path / RESULTS).write_text("mine")
    for resume in (False, True):
        with pytest.raises(UsageError, match="results.json' already exists and is not of an evaluation"):
            evaluate(find_suite("lite"), [folder], tmp_path, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == [RESULTS] and (tmp_path / RESULTS).read_text() == "mine"


def test_results_that_cannot_be_written_cost_no_measurement(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr("genkit.files.whole.flush", refusing)
        with pytest.raises(GenkitError, match="No space left on device; every measurement is kept: .* --resume"):
            evaluate(find_suite("lite"), [folder], tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LEDGER]
    monkeypatch.setattr("genkit.benchmarks.evaluate.run.decode", lambda path: pytest.fail("measured again"))
    assert len(evaluate(find_suite("lite"), [folder], tmp_path / "run", resume=True)["videos"]) == 8


def refusing(path: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.slow
def test_killed_at_random_points_and_resumed(folder: Path, tmp_path: Path) -> None:
    """20 times SIGKILL; when a run is done before its kill, the next begins in a new folder."""
    expected = run_whole(folder, tmp_path / "whole")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(
        ["genkit.apps.cli", "genkit.benchmarks.suites.lite", "genkit.benchmarks.evaluate.run"]
    )
    chance = random.Random(0)
    kills, number, within = 0, 0, 0
    while kills < KILLS:
        run = tmp_path / f"run {number}"
        before = whole_lines(run / LEDGER)
        videos = sorted(folder.iterdir())
        chance.shuffle(videos)
        words = ["eval", "run", "--suite", "lite", "--out", str(run), "--resume", *map(str, videos)]
        process = processes.Process(target=main, args=(words,))
        process.start()
        wait_for(run / LEDGER, len(before) + chance.randint(0, 16), process)
        process.join(chance.uniform(0, 0.02))
        alive = process.is_alive()
        process.kill()
        process.join()
        after = whole_lines(run / LEDGER)
        assert after[: len(before)] == before, "a finished row was lost"
        kills += alive
        within += alive and 0 < len(after) < 8 * 6
        if (run / RESULTS).exists():
            number += 1
    assert within >= KILLS // 4, "too few of the kills hit a run in its middle"
    for run in tmp_path.glob("run *"):
        assert run_whole(folder, run) == expected
        assert sorted(ledger_keys(run)) == sorted(ledger_keys(tmp_path / "whole")), "a row was computed twice"


def wait_for(ledger: Path, lines: int, process: multiprocessing.process.BaseProcess) -> None:
    """Until the ledger has so many whole lines, or the process has ended; no clock, so slow machines do the same."""
    while process.is_alive() and len(whole_lines(ledger)) < lines:
        process.join(0.002)


def run_whole(folder: Path, run: Path) -> bytes:
    evaluate(find_suite("lite"), [folder], run, resume=True)
    return (run / RESULTS).read_bytes()


def whole_lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def test_a_finished_run_decodes_nothing_again(
    folder: Path, bad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, run = [folder, bad], tmp_path / "run"
    first = evaluate(find_suite("lite"), paths, run)
    monkeypatch.setattr("genkit.benchmarks.evaluate.run.decode", lambda path: pytest.fail(f"{path} is decoded again"))
    assert evaluate(find_suite("lite"), paths[::-1], run, resume=True) == first


@pytest.mark.parametrize("damage", [{"sum": None}, {"curve": "abc"}, {"weight": "1"}, {"sum": float("nan")}])
def test_a_line_that_holds_no_measurement_is_named(damage: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    before = evaluate(find_suite("lite"), [folder], tmp_path / "run")
    path = tmp_path / "run" / LEDGER
    first, *rest = path.read_text().splitlines(keepends=True)
    key = json.loads(first)["key"]
    path.write_text("".join([json.dumps(json.loads(first) | damage) + "\n", *rest]))
    with pytest.raises(GenkitError, match=f"the line of ledger.jsonl with the key {key} is damaged; remove that line"):
        evaluate(find_suite("lite"), [folder], tmp_path / "run", resume=True)
    path.write_text("".join(rest))
    assert evaluate(find_suite("lite"), [folder], tmp_path / "run", resume=True) == before


def test_only_what_changed_is_measured_again(folder: Path, tmp_path: Path) -> None:
    videos = shutil.copytree(folder, tmp_path / "videos")
    evaluate(find_suite("lite"), [videos], tmp_path / "run")
    finished = ledger_keys(tmp_path / "run")
    clips.save_raw(moving(99), videos / "prompt 0-0.npz")
    results = evaluate(find_suite("lite"), [videos], tmp_path / "run", resume=True)
    assert len(ledger_keys(tmp_path / "run")) == len(finished) + 6
    fresh = evaluate(find_suite("lite"), [videos], tmp_path / "fresh")
    assert results == fresh


def test_a_new_version_of_a_metric_is_measured_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(find_suite("lite"), [folder], tmp_path / "run")
    monkeypatch.setattr(lite.SeamJump, "version", 2)
    evaluate(find_suite("lite"), [folder], tmp_path / "run", resume=True)
    assert len(ledger_keys(tmp_path / "run")) == 8 * 6 + 8


def test_bad_files_are_rows_with_their_reasons(bad: Path, tmp_path: Path) -> None:
    results = evaluate(find_suite("lite"), [bad], tmp_path / "run")
    reasons = failures(results)
    assert set(reasons) == {"cut short.mp4", "empty.mp4", "empty too.mp4", "single.mp4", "text.mp4", "text.npz"}
    assert reasons["empty.mp4"] == reasons["empty too.mp4"] == "the file is empty: it contains no video"
    assert reasons["single.mp4"] == "the file contains only one frame; a video has at least two"
    assert reasons["cut short.mp4"].startswith("only 0 of 5 frames of the file can be decoded")
    assert "not a video" in reasons["text.mp4"]
    assert "cannot be decoded" in reasons["text.npz"]
    assert str(bad) not in json.dumps(results)
    flicker = results["metrics"]["lite.flicker"]
    assert (flicker["videos"], flicker["missing"], flicker["low"]) == (1, 6, None)


def test_only_bad_files_give_no_values(bad: Path, tmp_path: Path) -> None:
    results = evaluate(find_suite("lite"), [bad / "empty.mp4"], tmp_path / "run")
    assert {(row["value"], row["videos"], row["missing"]) for row in results["metrics"].values()} == {(None, 0, 1)}


def test_a_metric_that_does_not_apply_spoils_only_itself(tmp_path: Path) -> None:
    clips.save_raw(Video(moving(0).frames[:3], 8.0), tmp_path / "short.npz")
    results = evaluate(find_suite("lite"), [tmp_path], tmp_path / "run")
    assert failures(results) == {"short.npz": "fast variation needs at least 4 frames; the video has 3"}
    assert results["metrics"]["lite.flicker"]["videos"] == 1


def test_sprites_reads_the_prompt_in_the_file(tmp_path: Path) -> None:
    moving(0, 17).save(tmp_path / "a.mp4")
    moving(1, 17).save(tmp_path / "b.mp4", metadata=False)
    results = evaluate(find_suite("sprites"), [tmp_path / "a.mp4", tmp_path / "b.mp4"], tmp_path / "run")
    assert results["metrics"]["sprites.joint"]["value"] == 1
    assert [(video["prompt"], video["seed"]) for video in results["videos"]] == [(PROMPT, 0), ("b", None)]
    assert "no single prompt is stored" in failures(results)["b.mp4"]


def test_similarity_pairs_by_name_and_tells_what_has_no_reference(tmp_path: Path) -> None:
    for where, seeds in (("reference", (0, 1)), ("videos", (0, 5, 2))):
        (tmp_path / where).mkdir()
        for name, seed in zip("abc", seeds, strict=False):
            clips.save_raw(moving(seed), tmp_path / where / f"{name}.npz")
    suite = find_suite("similarity", only=["psnr"])
    results = evaluate(suite, [tmp_path / "videos"], tmp_path / "run", reference=tmp_path / "reference")
    same, other, _ = (video["metrics"] for video in results["videos"])
    assert same["similarity.psnr"]["sum"] / same["similarity.psnr"]["weight"] == 100
    assert other["similarity.psnr"]["sum"] / other["similarity.psnr"]["weight"] < 40
    assert failures(results) == {"c.npz": "there is no reference of the same name"}
    (tmp_path / "reference" / "b.npz").write_bytes(b"")
    results = evaluate(suite, [tmp_path / "videos"], tmp_path / "run", reference=tmp_path / "reference", resume=True)
    assert failures(results)["b.npz"].startswith("its reference: ")


def test_raw_frames_come_back_as_they_were(tmp_path: Path) -> None:
    video = moving(4)
    path = clips.save_raw(video, tmp_path / "raw.npz")
    found = clips.decode(path)
    assert found.frames.dtype == np.float32 and np.array_equal(found.frames, video.frames) and found.fps == 8.0
    assert clips.find([path])[0].request == video.request
    with pytest.raises(UsageError, match="raw frames must end in .npz"):
        clips.save_raw(video, tmp_path / "raw.mp4")


def test_what_cannot_begin(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lite_suite, run = find_suite("lite"), tmp_path / "run"
    evaluate(lite_suite, [folder / "prompt 0-0.npz"], run)
    with pytest.raises(UsageError, match="already contains an evaluation; use --resume to continue"):
        evaluate(lite_suite, [folder], run)
    with pytest.raises(UsageError, match="there is no file or folder"):
        evaluate(lite_suite, [tmp_path / "absent"], run, resume=True)
    with pytest.raises(UsageError, match="there is no video in"):
        evaluate(lite_suite, [run], run, resume=True)
    with pytest.raises(UsageError, match="two videos are called 'prompt 0-0.npz'"):
        evaluate(lite_suite, [folder, folder / "prompt 0-0.npz"], run, resume=True)
    with pytest.raises(UsageError, match="takes no reference; leave --reference out"):
        evaluate(lite_suite, [folder], run, resume=True, reference=folder)
    with pytest.raises(UsageError, match="compares; name the folder of reference videos"):
        evaluate(find_suite("similarity"), [folder], run, resume=True)
    with pytest.raises(UsageError, match="no suite 'light'; did you mean 'lite'"):
        find_suite("light")
    monkeypatch.setattr("genkit.benchmarks.evaluate.metric.find_spec", lambda name: None)
    with pytest.raises(
        GenkitError, match="suite 'lite' needs cv2; install it: pip install matplotlib jinja2 opencv-python-headless"
    ):
        evaluate(lite_suite, [folder], tmp_path / "other")


def test_the_command_line_tells_values_and_bad_files(bad: Path, tmp_path: Path, capsys: Any) -> None:
    words = ["eval", "run", "--suite", "lite", str(bad), "--out", str(tmp_path / "run")]
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert "lite.dynamic_degree" in out and "lite.flicker" in out and "empty.mp4" not in out
    assert "empty.mp4: the file is empty: it contains no video" in err and "6 of 7 videos" in err
    assert main(words) == 2
    assert "use --resume to continue" in capsys.readouterr().err
    assert main(["eval", "run", "--suite", "lite", str(bad / "good.mp4"), "--out", str(tmp_path / "2"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["suite"] == "lite"


def test_the_command_line_refuses_in_one_sentence(tmp_path: Path, capsys: Any) -> None:
    for words in (["--suite", "lite"], ["--suite", "lite", "--out", "run"], ["--suite", "x", "a.mp4", "--out", "run"]):
        assert main(["eval", "run", *words]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_interrupted_run_says_how_to_go_on(bad: Path, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    def stop(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("genkit.benchmarks.evaluate.run.decode", stop)
    assert main(["eval", "run", "--suite", "lite", str(bad / "good.mp4"), "--out", str(tmp_path / "run")]) == 130
    assert "stopped; use --resume to continue" in capsys.readouterr().err
    assert (tmp_path / "run" / LEDGER).read_bytes() == b"" and not (tmp_path / "run" / RESULTS).exists()


def test_the_doctor_of_evaluations(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["eval", "doctor"]) == 0
    assert "similarity.ssim_box" in capsys.readouterr().out
    monkeypatch.setattr("genkit.benchmarks.evaluate.metric.find_spec", lambda name: None)
    assert main(["eval", "doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    wanting = [line.split()[0] for line in lines if "missing cv2: pip install" in line]
    assert wanting == ["lite.warping_error", "lite.dynamic_degree"]
