"""What a pipeline is given is what a direct call would give it, bit for bit; every change is in the receipt."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from small_pipelines import MODULAR, SMALL
from small_pipelines.ltx import conditions
from small_pipelines.parts import film, mask_film, picture

import genkit
from genkit.inputs.arguments import as_arguments
from genkit.inputs.given import read_given
from genkit.pipelines.matching import card_of

EXACT = [
    "WanImageToVideoPipeline",
    "WanImageToVideoPipeline-last-image",
    "WanVideoToVideoPipeline",
    "WanVACEPipeline",
    "LTXImageToVideoPipeline",
    "HunyuanVideoImageToVideoPipeline",
    "CogVideoXImageToVideoPipeline",
    "CogVideoXFunControlPipeline",
    "AnimateDiffVideoToVideoPipeline",
    "StableVideoDiffusionPipeline",
    "VideoToVideoSDPipeline",
    "LucyEditPipeline",
    "WanAnimatePipeline-replace",
    "Cosmos2_5_TransferPipeline",
    "LTXI2VLongMultiPromptPipeline",
]
"""Small pipelines whose inputs have the size and the rate of the video already."""


def direct(name: str, pipe: Any, **changes: Any) -> np.ndarray:
    """Return the frames of a direct call of the pipeline with the arguments of its entry."""
    frames = pipe(**SMALL[name].arguments(7, **{**changes, "output_type": "np"})).frames
    return np.asarray(frames[0])


def ours(name: str, handle: Any, **changes: Any) -> Any:
    """Return the video of the same call through the handle."""
    small = SMALL[name]
    given = {**small.call, **{key: make() for key, make in small.inputs.items()}, **changes}
    return handle.generate(seed=7, **{key: value for key, value in given.items() if key != "output_type"})


@pytest.mark.parametrize("name", EXACT)
def test_the_video_is_that_of_a_direct_call(name: str) -> None:
    pipe = SMALL[name].build()
    plain = direct(name, pipe)
    with genkit.apply(pipe) as handle:
        video = ours(name, handle)
    assert np.array_equal(video.frames, plain)
    assert not [note for note in video.receipt.notes if ("size" in note and "reference" not in note)]
    assert name == "LTXI2VLongMultiPromptPipeline" or "unfinished" not in " ".join(video.receipt.notes)


@pytest.fixture(scope="module")
def i2v() -> Iterator[Any]:
    with genkit.apply(SMALL["WanImageToVideoPipeline"].build()) as handle:
        yield handle


@pytest.fixture(scope="module")
def v2v() -> Iterator[Any]:
    with genkit.apply(SMALL["WanVideoToVideoPipeline"].build()) as handle:
        yield handle


@pytest.fixture(scope="module")
def vace() -> Iterator[Any]:
    with genkit.apply(SMALL["WanVACEPipeline"].build()) as handle:
        yield handle


def call(name: str) -> dict[str, Any]:
    return {key: value for key, value in SMALL[name].call.items() if key != "output_type"} | {"seed": 7}


WAN = call("WanImageToVideoPipeline")
CHANGE = call("WanVideoToVideoPipeline")
CONTROL = call("WanVACEPipeline")
LARGE = picture(100, 60)


def prepared(how: str) -> Image.Image:
    """Return the large image in the size of the video, by Pillow alone."""
    smooth = Image.Resampling.LANCZOS
    if how == "fit":
        return LARGE.resize((64, 48), smooth)
    return ImageOps.pad(LARGE, (64, 48), smooth) if how == "pad" else ImageOps.fit(LARGE, (64, 48), smooth)


@pytest.mark.parametrize("how", [None, "crop", "fit", "pad"])
def test_an_image_of_another_shape_is_prepared_as_asked_and_said(i2v: Any, how: str | None) -> None:
    video = i2v.generate(image=LARGE, resize=how, **WAN)
    assert np.array_equal(video.frames, direct("WanImageToVideoPipeline", i2v.pipe, image=prepared(how or "crop")))
    done = {"fit": "stretched", "pad": "scaled, with black bars"}.get(how or "", "scaled and cropped to its middle")
    assert f"image was {done}, from 60x100 to 48x64 (height x width)" in video.receipt.notes


def test_without_a_size_the_note_names_the_one_that_keeps_the_shape(i2v: Any) -> None:
    notes: list[str] = []
    given = read_given(i2v.pipe, i2v.card, {"image": LARGE}, {}, notes.append)
    made = as_arguments(i2v.pipe, i2v.card, given, {"image": [LARGE]}, {}, notes)
    assert made["image"].size == (832, 480)
    assert notes == [
        "image was scaled and cropped to its middle, from 60x100 to 480x832 (height x width); height=496, width=816 "
        "would keep its shape"
    ]


@pytest.mark.parametrize("form", ["path", "array", "tensor", "list"])
def test_an_image_gives_the_same_video_in_every_form(i2v: Any, form: str, tmp_path: Any) -> None:
    image = picture(64, 48)
    image.save(tmp_path / "image.png")
    array = np.asarray(image)
    forms = {
        "path": tmp_path / "image.png",
        "array": array,
        "tensor": torch.from_numpy(array.copy()).permute(2, 0, 1) / 255,
        "list": [image],
    }
    video = i2v.generate(image=forms[form], **WAN)
    assert np.array_equal(video.frames, direct("WanImageToVideoPipeline", i2v.pipe))


def test_a_video_without_a_length_beside_it_sets_the_length(v2v: Any) -> None:
    assert len(v2v.generate(video=film(9)(), **CHANGE).frames) == 9
    long = v2v.generate(video=film(12)(), **CHANGE)
    assert len(long.frames) == 9 and "video was cut from 12 to 9 frames" in long.receipt.notes
    asked = v2v.generate(video=film(17)(), num_frames=5, **CHANGE)
    assert len(asked.frames) == 5 and asked.receipt.frames_asked == 5 and asked.request["num_frames"] == 5
    assert "video was cut from 17 to 5 frames" in asked.receipt.notes
    assert np.array_equal(asked.frames, direct("WanVideoToVideoPipeline", v2v.pipe, video=film(5)()))


def test_a_short_video_is_refused_with_the_length_that_it_has(v2v: Any, vace: Any) -> None:
    sentence = "video has 12 frames and num_frames=17 asks for more; give a longer video, or num_frames=9"
    with pytest.raises(genkit.UsageError, match=sentence):
        v2v.generate(video=film(12)(), num_frames=17, **CHANGE)
    with pytest.raises(genkit.UsageError, match=sentence):
        vace.generate(video=film(12)(), mask=mask_film(17)(), **CONTROL)
    with pytest.raises(genkit.UsageError, match=r"num_frames=6: .* makes 4k \+ 1 frames; the nearest is"):
        v2v.generate(video=film(12)(), num_frames=6, **CHANGE)


def test_a_file_of_another_rate_is_read_at_the_rate_of_the_run(v2v: Any, tmp_path: Any) -> None:
    frames = np.stack([np.asarray(frame) for frame in film(34)()])
    path = genkit.Video(frames, 32.0).save(tmp_path / "fast.mp4", enlarge=1)
    video = v2v.generate(video=path, **CHANGE)
    assert len(video.frames) == 17 and video.fps == 16
    assert any("34 frames at 32 frames per second and was read at 16, so 17 are used" in n for n in video.receipt.notes)
    every = v2v.generate(video=path, fps=32, num_frames=33, **CHANGE)
    assert len(every.frames) == 33 and not any("read at" in note for note in every.receipt.notes)


def test_a_mask_may_be_one_image_of_another_size_and_grey(vace: Any) -> None:
    grey = Image.fromarray(np.linspace(0, 255, 128).astype(np.uint8)[None].repeat(96, 0))
    video = vace.generate(video=film(17)(), mask=grey, **CONTROL)
    half = Image.fromarray(np.where(np.arange(64) < 32, 0, 255).astype(np.uint8)[None].repeat(48, 0))
    plain = direct("WanVACEPipeline", vace.pipe, mask=[half] * 17, reference_images=None)
    assert np.array_equal(video.frames, plain)
    notes = video.receipt.notes
    assert "mask is one image, and was used for all 17 frames" in notes
    assert "mask: grey values became black below 128 and white from there on" in notes
    assert "mask was scaled from 96x128 to 48x64" in notes


def test_a_reference_keeps_its_size_and_its_own_name_is_a_word(vace: Any) -> None:
    first = vace.generate(reference=LARGE, **CONTROL)
    own = vace.generate(reference_images=[LARGE], **CONTROL)
    plain = direct("WanVACEPipeline", vace.pipe, video=None, mask=None, reference_images=[LARGE])
    assert np.array_equal(first.frames, plain) and np.array_equal(own.frames, plain)
    assert "reference was given to the pipeline in its own size, 60x100" in first.receipt.notes
    assert own.request["reference"][0]["sha256"] if isinstance(own.request["reference"], list) else True
    assert "reference_images" not in own.request.get("options", {})
    with pytest.raises(genkit.UsageError, match="reference was given by two names"):
        vace.generate(reference=LARGE, reference_images=[LARGE], **CONTROL)


def test_conditions_of_ltx_are_made_of_words() -> None:
    """An image at either end: the conditions that a user of diffusers would write."""
    from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition

    name = "LTXConditionPipeline"
    pipe, first, last = SMALL[name].build(), picture(128, 96), picture(128, 96, 16)
    own = [
        LTXVideoCondition(image=first, frame_index=0, strength=0.5),
        LTXVideoCondition(image=last, frame_index=32, strength=0.5),
    ]
    plain = direct(name, pipe, image=None, conditions=own)
    assert len(conditions()) == 2
    with genkit.apply(pipe) as handle:
        arguments = call(name)
        video = handle.generate(image=first, last_image=last, strength=0.5, **arguments)
        assert np.array_equal(video.frames, plain)
        with pytest.raises(genkit.UsageError, match=r"strength=0\.5 has nothing to act on"):
            handle.generate(strength=0.5, **arguments)


def test_a_strength_acts_on_whatever_was_given() -> None:
    """LTX-2 in context: the first image is a condition and the others are references, and each has the strength."""
    card = card_of(SMALL["LTX2InContextPipeline"].build())
    first, other = picture(128, 96), picture(128, 96, 16)
    size = {"height": 96, "width": 128, "num_frames": 33}
    for words in ({"image": first}, {"reference": other}, {"image": first, "reference": [other, first]}):
        pipe = SMALL["LTX2InContextPipeline"].build()
        given = read_given(pipe, card, {**words, "strength": 0.5}, {}, print)
        clips = {name: media.frames for name, media in given.media.items()}
        made = as_arguments(pipe, card, given, clips, size, [])
        assert all(one.strength == 0.5 for values in made.values() for one in values)
        assert sorted(made) == sorted(
            {"image": "conditions", "reference": "reference_conditions"}[word] for word in words
        )


def test_references_of_minimax_are_images() -> None:
    from diffusers.modular_pipelines.minimax_h3.references import MiniMaxH3ImageReference

    pipe = MODULAR["MiniMaxH3ModularPipeline-references"].build()
    card, images = card_of(pipe), [picture(64, 48), picture(30, 20)]
    given = read_given(pipe, card, {"reference": images}, {}, print)
    made = as_arguments(pipe, card, given, {"reference": given.media["reference"].frames}, {}, [])
    assert [type(one) for one in made["references"]] == [MiniMaxH3ImageReference] * 2
    assert [one.image.size for one in made["references"]] == [(64, 48), (30, 20)]


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), "much", True])
def test_a_strength_outside_its_range_is_refused(v2v: Any, value: Any) -> None:
    with pytest.raises(genkit.UsageError, match="strength="):
        v2v.generate(video=film(9)(), **{**CHANGE, "strength": value})


def test_a_strength_that_leaves_no_step_is_refused(v2v: Any) -> None:
    with pytest.raises(genkit.UsageError, match=r"strength=0\.2 of 3 steps leaves none; give strength=0\.33 or more"):
        v2v.generate(video=film(9)(), **{**CHANGE, "strength": 0.2})


def test_what_is_needed_and_missing_is_named(i2v: Any, v2v: Any) -> None:
    with pytest.raises(
        genkit.UsageError, match="makes a video from an image, and none was given; give image= or --image"
    ):
        i2v.generate(**WAN)
    with pytest.raises(genkit.UsageError, match="makes a video from a video, and none was given"):
        v2v.generate(**CHANGE)


def test_an_unknown_way_to_resize_is_refused(i2v: Any) -> None:
    with pytest.raises(genkit.UsageError, match="resize='squash' must be 'crop', 'fit'"):
        i2v.generate(image=LARGE, resize="squash", **WAN)


def test_a_pipeline_without_a_prompt_takes_none() -> None:
    name = "StableVideoDiffusionPipeline"
    refused = pytest.raises(genkit.UsageError, match="takes no prompt, its video follows the image alone")
    with genkit.apply(SMALL[name].build()) as handle, refused:
        handle.generate("a red circle", image=picture(64, 48), **call(name))


def test_wan_animate_makes_any_length_and_brings_the_face_to_its_own_size() -> None:
    name = "WanAnimatePipeline"
    pipe, body = SMALL[name].build(), {"pose_video": film(10)(), "face_video": film(10, 30, 20)()}
    small = [ImageOps.fit(frame, (16, 16), Image.Resampling.LANCZOS) for frame in body["face_video"]]
    plain = direct(name, pipe, pose_video=body["pose_video"], face_video=small)
    with genkit.apply(pipe) as handle:
        video = handle.generate(image=picture(64, 48), **body, **call(name))
        with pytest.raises(genkit.UsageError, match="face_video has 4 frames and num_frames=9 asks for more"):
            handle.generate(image=picture(64, 48), **{**body, "face_video": film(4)()}, num_frames=9, **call(name))
    assert len(video.frames) == 10 and np.array_equal(video.frames, plain)
    assert any("face_video was scaled and cropped" in note and "to 16x16" in note for note in video.receipt.notes)


def test_controls_of_cosmos_may_have_any_length() -> None:
    name = "Cosmos2_5_TransferPipeline"
    pipe = SMALL[name].build()
    plain = direct(name, pipe, controls=film(15)(), num_frames=None)
    with genkit.apply(pipe) as handle:
        video = handle.generate(control=film(15)(), **{**call(name), "num_frames": None})
    assert np.array_equal(video.frames, plain)


def test_a_video_of_genkit_is_an_input(v2v: Any) -> None:
    frames = np.stack([np.asarray(frame) for frame in film(9)()])
    video = v2v.generate(video=genkit.Video(frames, 16.0), **CHANGE)
    assert np.array_equal(video.frames, direct("WanVideoToVideoPipeline", v2v.pipe, video=film(9)()))
