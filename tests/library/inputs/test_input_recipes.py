"""A recipe names each input and never contains it; what it was made with has to be the same, or it says so."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_pipelines import SMALL
from small_pipelines.parts import film, picture

import genkit
from genkit.apps.cli import main
from genkit.making import check_request
from genkit.request import Request, RequestError
from genkit.video.stranger import from_stranger
from genkit.video.video import read_request

SIZE = ["--num-frames", "5", "--height", "48", "--width", "64", "--steps", "2"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a small Wan that makes videos from images."""
    folder = tmp_path_factory.mktemp("wan-i2v")
    SMALL["WanImageToVideoPipeline"].build().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def cat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image of another shape in the working folder."""
    monkeypatch.chdir(tmp_path)
    picture(100, 60).save("cat.png")
    return Path("cat.png")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_a_file_is_named_by_path_and_digest_and_makes_the_same_video_again(
    model: str, cat: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["generate", "a red circle", "--model", model, "--image", str(cat), "--seed", "7", "--resize", "pad", *SIZE]
    assert main([*words, "-o", "one.mp4"]) == 0
    request = read_request(Path("one.mp4"))
    assert request["image"] == {"file": "cat.png", "sha256": sha256(cat)} and request["resize"] == "pad"
    assert "image was scaled, with black bars, from 60x100 to 48x64" in capsys.readouterr().out
    assert main(["rerun", "one.mp4", "--model", model, "-o", "two.mp4"]) == 0
    first, second = genkit.read("one.mp4"), genkit.read("two.mp4")
    assert np.array_equal(first.frames, second.frames) and first.request == second.request
    capsys.readouterr()

    picture(100, 60, shift=9).save(cat)  # another image under the same name
    assert main(["rerun", "one.mp4", "--model", model, "-o", "three.mp4"]) == 2
    assert "image='cat.png' is not the file that the video was made with" in said(capsys)
    assert main(["rerun", "one.mp4", "--model", model, "--image", str(cat), "-o", "three.mp4"]) == 0
    assert read_request(Path("three.mp4"))["image"]["sha256"] == sha256(cat)
    assert not np.array_equal(genkit.read("three.mp4").frames, first.frames)
    capsys.readouterr()

    cat.rename("dog.png")
    assert main(["rerun", "one.mp4", "--model", model, "-o", "four.mp4"]) == 2
    assert "image='cat.png': there is no such file; give another by --image FILE" in said(capsys)
    assert main(["rerun", "three.mp4", "--model", model, "--set", "image=dog.png", "-o", "four.mp4"]) == 0
    assert np.array_equal(genkit.read("four.mp4").frames, genkit.read("three.mp4").frames)


def test_nothing_of_the_picture_is_in_the_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    with genkit.apply(SMALL["WanImageToVideoPipeline"].build()) as handle:
        video = handle.generate(
            "a red circle", image=Image.fromarray(noise), num_frames=5, height=48, width=64, num_inference_steps=1
        )
    assert video.request["image"] == {
        "given": "PIL image RGB 64x48",
        "sha256": hashlib.sha256(noise.tobytes()).hexdigest(),
    }
    assert video.receipt is not None and video.receipt.arguments["image"] == video.request["image"]
    path = video.save(tmp_path / "clip.mp4")
    assert noise.tobytes()[:32] not in path.read_bytes()
    kept, _ = from_stranger(read_request(path), {"model"})
    with pytest.raises(genkit.UsageError, match=r"image was given by a program \(PIL image RGB 64x48\).* --image FILE"):
        check_request(Request.model_validate(kept))


def test_an_array_is_named_by_its_form(tmp_path: Path) -> None:
    frames = np.stack([np.asarray(frame) for frame in film(5)()])
    with genkit.apply(SMALL["WanVideoToVideoPipeline"].build()) as handle:
        size: dict[str, Any] = {"height": 48, "width": 64, "num_inference_steps": 2, "seed": 7, "strength": 1}
        array = handle.generate("a red circle", video=frames, **size)
        images = handle.generate("a red circle", video=film(5)(), **size)
        files = []
        for place, frame in enumerate(film(5)()):
            files.append(tmp_path / f"{place}.png")
            frame.save(files[-1])
        paths = handle.generate("a red circle", video=files, **size)
    assert array.request["video"]["given"] == "numpy uint8 [5, 48, 64, 3]"
    assert images.request["video"]["given"] == "5 images"
    assert [one["file"] for one in paths.request["video"]] == list(map(str, files))
    assert array.request["strength"] == 1.0
    assert np.array_equal(array.frames, images.frames) and np.array_equal(array.frames, paths.frames)
    json.dumps(paths.request)
    assert Request.model_validate(paths.request).video == paths.request["video"]


def test_conditions_of_diffusers_are_named_in_the_recipe() -> None:
    small = SMALL["LTXConditionPipeline-places"]
    pipe = small.build()
    given = {key: value for key, value in small.call.items() if key != "output_type"}
    plain = np.asarray(pipe(**small.arguments(7, output_type="np")).frames[0])
    with genkit.apply(pipe) as handle:
        video = handle.generate(seed=7, fps=25, conditions=small.inputs["conditions"](), **given)
    assert np.array_equal(video.frames, plain)
    first, later = video.request["options"]["conditions"]
    assert first["image"].startswith("image RGB 128x96 sha256:") and first["frame_index"] == 0
    assert len(later["video"]) == 9 and later["strength"] == 0.5


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an array": ({"image": np.zeros((4, 4, 3))}, "must be the path of a file; images and arrays go to Handle.generate"),
    "a number": ({"image": 5}, "image=5 must be the path of a file"),
    "nothing": ({"video": ""}, "must be the path of a file"),
    "another mapping": ({"image": {"file": "cat.png"}}, "must be the path of a file"),
    "two images": ({"image": ["a.png", "b.png"]}, "image="),
    "strength": ({"strength": 1.5}, r"strength=1\.5 must be from 0"),
    "strength in words": ({"strength": "much"}, "strength='much' must be"),
    "resize": ({"resize": "squash"}, "resize='squash' must be 'crop'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_request_refuses_other_inputs(case: str) -> None:
    fields, sentence = WRONG[case]
    with pytest.raises(RequestError, match=sentence):
        Request(prompt="a red circle", **fields)


def test_a_missing_file_is_refused_before_the_model_opens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("genkit.making.load", lambda **opening: pytest.fail("the model was opened"))
    assert main(["generate", "a red circle", "--image", "absent.png"]) == 2
    assert "image='absent.png': there is no such file" in said(capsys)


@pytest.mark.parametrize(
    "record",
    [
        "cat.png",
        {"file": "cat.png", "sha256": None},
        {"file": "//server/share/cat.png", "sha256": "0"},
        {"file": "\\\\server\\share\\cat.png", "sha256": "0"},
        [{"file": "a.png", "sha256": "0"}, "b.png"],
    ],
)
def test_a_stranger_names_files_of_this_machine_with_a_digest_only(record: Any) -> None:
    with pytest.raises(genkit.UsageError, match=r"is not a file of this machine with a SHA-256.* --reference FILE"):
        from_stranger({"prompt": "a red circle", "reference": record}, ())
    assert from_stranger({"prompt": "a red circle", "reference": record}, {"reference"})[0] == {
        "prompt": "a red circle"
    }


def test_a_model_without_an_input_says_so_on_the_command_line(cat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "a red circle", "--image", str(cat)]) == 2
    assert "WanPipeline takes no image; WanImageToVideoPipeline" in said(capsys)


def test_a_video_that_is_read_is_not_overwritten(cat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = np.stack([np.asarray(frame) for frame in film(5)()])
    before = genkit.Video(frames, 8.0).save("clip.mp4").read_bytes()
    assert main(["generate", "a red circle", "--video", "clip.mp4", "-o", "clip.mp4"]) == 2
    assert "is the video being read; give --output another name" in said(capsys)
    assert Path("clip.mp4").read_bytes() == before
