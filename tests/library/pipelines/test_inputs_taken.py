"""Every pipeline takes the inputs that its call has, by one word each, and is really called with them."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import diffusers
import pytest
from PIL import Image
from small_pipelines import SMALL, class_of
from small_pipelines.parts import film, mask_film, picture

import genkit
from genkit.inputs.arguments import as_arguments
from genkit.inputs.given import read_given
from genkit.inputs.length import clips_of
from genkit.inputs.words import MEDIA, WORDS
from genkit.pipelines.inputs import inputs_of
from genkit.pipelines.matching import card_of

TAKES: dict[str, str] = {
    "AnimateDiffControlNetPipeline": "control",
    "AnimateDiffSparseControlNetPipeline": "control",
    "AnimateDiffVideoToVideoControlNetPipeline": "video control strength",
    "AnimateDiffVideoToVideoPipeline": "video strength",
    "AnyFlowPipeline": "video",
    "ChronoEditPipeline": "image",
    "CogVideoXFunControlPipeline": "control",
    "CogVideoXImageToVideoPipeline": "image",
    "CogVideoXVideoToVideoPipeline": "video strength",
    "ConsisIDPipeline": "image",
    "Cosmos2VideoToWorldPipeline": "image video",
    "Cosmos2_5_PredictBasePipeline": "image video",
    "Cosmos2_5_TransferPipeline": "control",
    "Cosmos3OmniPipeline": "image video",
    "CosmosVideoToWorldPipeline": "image video",
    "EasyAnimateInpaintPipeline": "video mask strength",
    "HeliosPipeline": "image video",
    "HeliosPyramidPipeline": "image video",
    "HunyuanSkyreelsImageToVideoPipeline": "image",
    "HunyuanVideo15ImageToVideoPipeline": "image",
    "HunyuanVideoFramepackPipeline": "image last_image",
    "HunyuanVideoImageToVideoPipeline": "image",
    "I2VGenXLPipeline": "image",
    "Kandinsky5I2VPipeline": "image",
    "Kandinsky6TI2VAPipeline": "image",
    "LTX2ConditionPipeline": "image last_image video strength",
    "LTX2DFRPipeline": "image last_image video strength",
    "LTX2DFRTemporalRefinePipeline": "image last_image video strength",
    "LTX2HDRPipeline": "reference strength",
    "LTX2ImageToVideoPipeline": "image",
    "LTX2InContextPipeline": "image last_image video reference strength",
    "LTXConditionPipeline": "image last_image video strength",
    "LTXI2VLongMultiPromptPipeline": "image strength",
    "LTXImageToVideoPipeline": "image",
    "LucyEditPipeline": "video",
    "MotifVideoImage2VideoPipeline": "image",
    "PIAPipeline": "image strength",
    "SanaImageToVideoPipeline": "image",
    "SanaWMPipeline": "image",
    "SkyReelsV2DiffusionForcingImageToVideoPipeline": "image last_image",
    "SkyReelsV2DiffusionForcingVideoToVideoPipeline": "video",
    "SkyReelsV2ImageToVideoPipeline": "image last_image",
    "StableVideoDiffusionPipeline": "image",
    "VideoToVideoSDPipeline": "video strength",
    "WanAnimatePipeline": "image mask pose_video face_video background",
    "WanImageToVideoPipeline": "image last_image",
    "WanVACEPipeline": "video mask reference",
    "WanVideoToVideoPipeline": "video strength",
}
"""Words that each class takes; a class that is missing takes a prompt alone."""
WHOLE: dict[str, str] = {
    "AnimateDiffControlNetPipeline": "control",
    "AnimateDiffVideoToVideoControlNetPipeline": "video control",
    "AnimateDiffVideoToVideoPipeline": "video",
    "CogVideoXFunControlPipeline": "control",
    "CogVideoXVideoToVideoPipeline": "video",
    "Cosmos2_5_TransferPipeline": "control",
    "EasyAnimateInpaintPipeline": "video mask",
    "LucyEditPipeline": "video",
    "VideoToVideoSDPipeline": "video",
    "WanAnimatePipeline": "mask pose_video face_video background",
    "WanVACEPipeline": "video mask",
    "WanVideoToVideoPipeline": "video",
}
"""Words whose video has a frame for each frame of the result; all others may be shorter."""
REFUSED = frozenset(
    {
        "AnyFlowFARPipeline",
        "Kandinsky6SRPipeline",
        "TextToVideoZeroPipeline",
        "TextToVideoZeroSDXLPipeline",
    }
)
"""Classes that no plug-in can work in."""
ACCEPTED = {class_of(name): name for name in reversed(SMALL) if class_of(name) not in REFUSED}
VALUES: dict[str, Callable[[int], Any]] = {
    "image": lambda frames: picture(64, 48),
    "images": lambda frames: film(1)(),
    "video": lambda frames: film(frames)(),
    "mask": lambda frames: mask_film(frames)(),
    "number": lambda frames: 0.75,
}


class Called(Exception):
    """The arguments of the pipeline's call, instead of a video."""


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, Any], dict[str, Any]]:
    """Return a function that gives the arguments with which a handle calls its pipeline."""

    def arguments(pipe: Any, given: dict[str, Any]) -> dict[str, Any]:
        cls = type(pipe)

        @functools.wraps(cls.__call__)
        def call(self: Any, **found: Any) -> None:
            raise Called(found)

        monkeypatch.setattr(cls, "__call__", call)
        with genkit.apply(pipe) as handle, pytest.raises((Called, genkit.GenkitError)) as caught:
            handle.generate(**given)
        inner = caught.value if isinstance(caught.value, Called) else caught.value.__cause__
        assert isinstance(inner, Called), caught.value
        return dict(inner.args[0])

    return arguments


def call_of(name: str, words: Any) -> dict[str, Any]:
    """Return the arguments of the smallest call of a small pipeline, with a value for each word."""
    small = SMALL[name]
    frames = {"HunyuanVideoFramepackPipeline": 13}.get(name, small.call.get("num_frames") or 17)
    plain = {key: value for key, value in small.call.items() if key not in ("output_type", "strength")}
    plain |= {"num_frames": frames} if "num_frames" in plain else {}
    others = {key: make() for key, make in small.inputs.items() if key not in arguments_of_words(words)}
    return plain | others | {word: VALUES[known.form](frames) for word, known in words.items()} | {"seed": 7, "fps": 8}


def arguments_of_words(words: Any) -> set[str]:
    return {known.argument for known in words.values()}


@pytest.mark.parametrize("cls", sorted(ACCEPTED))
def test_a_pipeline_takes_these_words_and_is_called_with_them(cls: str, called: Any) -> None:
    name = ACCEPTED[cls]
    pipe = SMALL[name].build()
    with genkit.apply(pipe) as handle:
        takes = dict(handle.card.takes)
    assert sorted(takes) == sorted(TAKES.get(cls, "").split())
    assert sorted(word for word, known in takes.items() if known.whole) == sorted(WHOLE.get(cls, "").split())
    if not takes:
        return
    found = called(pipe, call_of(name, takes))
    for word, known in takes.items():
        value = found[known.argument]
        assert value is not None, word
        if known.argument == word and known.form == "image":
            assert isinstance(value, Image.Image)
        if known.whole and isinstance(value, list):
            assert all(isinstance(frame, Image.Image) and frame.mode in ("RGB", "L") for frame in value)


def test_pipelines_that_a_refusal_names_do_take_the_word() -> None:
    for word, known in WORDS.items():
        for taker in known.takers:
            assert word in TAKES[taker].split(), (word, taker)


@pytest.mark.parametrize("word", MEDIA)
def test_what_a_pipeline_does_not_take_is_refused_with_those_that_do(word: str) -> None:
    pipe = SMALL["WanPipeline"].build()
    with genkit.apply(pipe) as handle, pytest.raises(genkit.UsageError) as caught:
        handle.generate("a red circle", **{word: "cat.png"})
    said = str(caught.value)
    assert said.startswith(f"{word}='cat.png': WanPipeline takes no ")
    assert all(taker in said for taker in WORDS[word].takers) and "\n" not in said


def test_every_class_of_diffusers_with_an_input_is_in_the_table() -> None:
    """The words of the call alone, read from each class, so that a renamed argument shows here."""
    for cls in ACCEPTED:
        derived = set(inputs_of(getattr(diffusers, cls), {}, ()))
        assert derived <= set(TAKES.get(cls, "").split()), cls


class Renamed(diffusers.WanPipeline):
    """Somebody's pipeline, with inputs under names of its own and a sound."""

    def __call__(self, prompt: Any, first: Any = None, audio: Any = None, num_frames: int = 17, **others: Any) -> Any:
        raise NotImplementedError


def test_a_subclass_and_a_third_partys_pipeline_take_what_their_call_and_facts_say(
    tmp_path: Any,
) -> None:
    class Mine(diffusers.WanImageToVideoPipeline):
        pass

    pipe = SMALL["WanImageToVideoPipeline"].build()
    with genkit.apply(Mine(**pipe.components)) as handle:
        assert sorted(handle.card.takes) == ["image", "last_image"]
    first = genkit.Input(argument="first", form="image", required=True)
    found = inputs_of(Renamed, {"image": first, "mask": genkit.Input(argument="absent", form="mask")}, ())
    assert found == {"image": first, "audio": genkit.Input(argument="audio", form="audio")}
    sound = tmp_path / "sound.wav"
    sound.write_bytes(b"RIFF")
    known = replace(card_of(SMALL["WanPipeline"].build()), takes=found)
    given = read_given(pipe, known, {"image": picture(64, 48), "audio": sound}, {}, print)
    clips = clips_of(given, 8.0, [])
    made = as_arguments(pipe, known, given, clips, {"height": 48, "width": 64, "num_frames": 17}, [])
    assert made["first"].size == (64, 48) and made["audio"] == str(sound)
    assert given.records()["audio"]["file"] == str(sound)
