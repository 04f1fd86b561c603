"""Facts that are wrong in one thing each: the check names the fact, says what it found, and the model is refused.

With a density of 1 most of these give the video of dense attention, so nothing else would show them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from small_pipelines import SMALL
from torch import nn

import genkit
from genkit.attention.calls.call import Kind
from genkit.attention.facts import known as known_models
from genkit.attention.facts.model_facts import ModelFacts, all_before, nothing_before
from genkit.attention.facts.positions import WAN_POSITIONS
from genkit.attention.facts.volume import Arguments, Volume, channels_last, unet
from genkit.pipelines import known


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(known_models, "_BY_CLASS", dict(known_models._BY_CLASS))
    monkeypatch.setattr(known, "_REGISTERED", dict(known._REGISTERED))


def swap(facts: ModelFacts) -> Mapping[str, Any]:
    """Rows and columns in each other's place."""

    def volume(model: nn.Module, arguments: Arguments) -> Volume:
        frames, rows, cols = facts.volume(model, arguments)
        return frames, cols, rows

    return {"volume": volume}


def behind(facts: ModelFacts) -> Mapping[str, Any]:
    """All other tokens behind the video."""
    return {"before": nothing_before}


def together(facts: ModelFacts, kind: Kind, other: str, **changes: Any) -> Mapping[str, Any]:
    """Modules of another pattern under a kind, too."""
    layers = {name: pattern for name, pattern in facts.layers.items() if pattern != other}
    return {"layers": layers | {kind: f"{facts.layers[kind]}|{other}"}, **changes}


@dataclass(frozen=True)
class Wrong:
    """A pipeline whose model has one wrong fact."""

    pipeline: str
    change: Callable[[ModelFacts], Mapping[str, Any]]
    fact: str
    """Fact that is found, after the component."""
    says: str
    """A part of the sentence, as a regular expression."""
    early: bool = True
    """True if it shows in the first layers of a forward, before any video."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the call."""


FACTS: dict[str, Wrong] = {
    "text on the other side": Wrong(
        "CogVideoXPipeline",
        behind,
        "before",
        r"tokens 64 to 75 move with the last frame of the video, so 16 of the 16 other tokens are before it, and the "
        r"facts say 0",
    ),
    "text in front where it is behind": Wrong(
        "HunyuanVideoPipeline",
        lambda facts: {"before": all_before},
        "before",
        r"so 0 of the \d+ other tokens are before",
    ),
    "history of FramePack taken for text behind": Wrong(
        "HunyuanVideoFramepackPipeline",
        behind,
        "before",
        r"so 62 of the 80 other tokens are before it, and the facts say 0",
    ),
    "history of Helios taken for text behind": Wrong("HeliosPipeline", behind, "before", "other tokens are before it"),
    "references of LTX-2 taken for video": Wrong(
        "LTX2HDRPipeline",
        lambda facts: {"others_in_self": lambda model, arguments: 0},
        "volume",
        "it has 120 queries, and the facts count 5 x 3 x 4 tokens of the video and 0 others",
    ),
    "text of Cosmos 3 that is not counted": Wrong(
        "Cosmos3OmniPipeline",
        lambda facts: {"keys_only": lambda model, arguments: 0},
        "layers",
        r"its 60 queries read 129 keys that are not the same tokens",
    ),
    "text that reads itself taken for video": Wrong(
        "Cosmos3OmniPipeline", lambda facts: {"text_calls": 0}, "masks|layers", "hides later tokens|are not the video"
    ),
    "latents of another layout": Wrong(
        "AnyFlowPipeline",
        lambda facts: {"volume": channels_last},
        "volume|frame_axis",
        "tokens move with the last|cannot be read|along axis|and the facts count",
    ),
    "latents of another name": Wrong(
        "WanPipeline",
        lambda facts: {"volume": unet},
        "volume",
        r"it cannot be read from a forward \(KeyError: 'sample'\)",
    ),
    "rows and columns swapped": Wrong(
        "WanPipeline",
        swap,
        "volume",
        "are rows and columns swapped",
    ),
    "rows and columns swapped in packed latents": Wrong(
        "LTXPipeline",
        swap,
        "volume",
        "rows and columns are swapped",
    ),
    "rows and columns swapped with two streams": Wrong(
        "LTX2Pipeline",
        swap,
        "volume",
        "rows and columns are swapped",
    ),
    "frames along the axis of channels": Wrong(
        "WanPipeline",
        lambda facts: {"frame_axis": 1},
        "frame_axis",
        "volume counts frames along axis 2 of the latents, not 1",
    ),
    "frames first taken for channels first": Wrong(
        "AnyFlowPipeline",
        lambda facts: {"frame_axis": 2},
        "frame_axis",
        "volume counts frames along axis 1 of the latents, not 2",
    ),
    "cross attention called self": Wrong(
        "WanPipeline",
        lambda facts: {"layers": {"self": r"blocks\.\d+\.attn[12]"}},
        "layers",
        r"blocks\.0\.attn2 \(self\): its 60 queries read 16 keys that are not the same tokens; it is cross",
    ),
    "self attention called cross": Wrong(
        "WanPipeline",
        lambda facts: {"layers": {"cross": r"blocks\.\d+\.attn[12]"}},
        "layers",
        r"blocks\.0\.attn1 \(cross\): its keys are the video, as some move with a frame; it is self or joint",
    ),
    "text refiner called joint": Wrong(
        "HunyuanVideoPipeline",
        lambda facts: together(facts, "joint", r"context_embedder\..*\.refiner_blocks\.\d+\.attn", excluded={}),
        "layers",
        r"refiner_blocks\.0\.attn \(joint\): its queries are not the video, .*; name it in excluded",
    ),
    "audio called self": Wrong(
        "LTX2Pipeline",
        lambda facts: {
            "layers": {"self": r"transformer_blocks\.\d+\.(audio_)?attn1"},
            "excluded": {
                r"transformer_blocks\.\d+\.(audio_attn2|attn2|audio_to_video_attn|video_to_audio_attn)": "audio"
            },
        },
        "layers",
        r"audio_attn1 \(self\): its queries are not the video",
    ),
    "attention that nobody names": Wrong(
        "WanAnimatePipeline",
        lambda facts: {"excluded": {}},
        "layers",
        r"face_adapter\.0.* attends, and the facts name it neither in layers nor in excluded",
        early=False,
    ),
    "a layer that is not there": Wrong(
        "WanPipeline",
        lambda facts: {"layers": {**facts.layers, "joint": r"blocks\.\d+\.attn3"}},
        "layers",
        r"no module matches 'blocks.*attn3', which would be joint",
    ),
    "spatial attention called temporal": Wrong(
        "AnimateDiffPipeline",
        lambda facts: {
            "layers": {
                "temporal": rf"{facts.layers['temporal']}|{facts.layers['spatial']}",
                "cross": facts.layers["cross"],
            }
        },
        "volume|layers",
        "no level of a 6x8 latent fits|it is spatial",
    ),
    "cross attention of a UNet called spatial": Wrong(
        "AnimateDiffPipeline",
        lambda facts: {
            "layers": {
                "temporal": facts.layers["temporal"],
                "spatial": rf"{facts.layers['spatial']}|{facts.layers['cross']}",
            }
        },
        "layers",
        r"attn2 \(spatial\): .* queries read \d+ keys",
    ),
    "positions in complex numbers taken for cosines": Wrong(
        "AnyFlowPipeline",
        lambda facts: {"positions": WAN_POSITIONS},
        "positions",
        "'rope' does not make a rotary module",
    ),
    "positions along another axis": Wrong(
        "WanPipeline",
        lambda facts: {"positions": replace(WAN_POSITIONS, token_axis=-2)},
        "positions",
        r"has the positions of 1 tokens and the video has 60",
    ),
    "positions of another model": Wrong(
        "WanPipeline",
        lambda facts: {"positions": replace(WAN_POSITIONS, rotation=lambda model, given: other_rotation(model, given))},
        "positions",
        "does not match the facts of its family",
    ),
    "positions of a module that is not there": Wrong(
        "WanPipeline",
        lambda facts: {"positions": replace(WAN_POSITIONS, where="rotary")},
        "positions",
        "no module 'rotary'",
    ),
    "a level for each token where one is meant": Wrong(
        "CogVideoXPipeline", lambda facts: {"one_level": None}, "one_level", "all frames share one noise level"
    ),
    "VACE reordered through its blocks": Wrong(
        "WanVACEPipeline-2.2",
        lambda facts: {"blocks": ("blocks",)},
        "blocks",
        "tokens must not be in another order in all of them, as its output then changes",
        early=False,
    ),
    "blocks that are not there": Wrong(
        "WanPipeline", lambda facts: {"blocks": ("layers",)}, "blocks", "the model has no list of modules 'layers'"
    ),
}


def other_rotation(model: nn.Module, given: Arguments) -> Any:
    assert WAN_POSITIONS.rotation is not None
    own = WAN_POSITIONS.rotation(model, given)
    return replace(own, inverse_frequencies=0.9 * own.inverse_frequencies)


def wrong_pipeline(case: Wrong) -> Any:
    """The pipeline of a case, after its model's facts were replaced; an entry of our own is not ours any more."""
    pipe = SMALL[case.pipeline].build()
    pipe.set_progress_bar_config(disable=True)
    own = known_models.facts_of_class(type(getattr(pipe, "transformer", None) or pipe.unet))
    assert own is not None
    genkit.register(replace(own, **case.change(own)), replace=True)
    return pipe


@pytest.mark.parametrize("name", FACTS)
def test_a_wrong_fact_is_named(name: str) -> None:
    case = FACTS[name]
    pipe = wrong_pipeline(case)
    found = genkit.check(pipe, **SMALL[case.pipeline].arguments(), **case.more)
    assert not found.ok
    facts = [one.fact.rpartition(".")[2] for one in found.wrong]
    assert facts[0] in case.fact.split("|"), found
    with pytest.raises(genkit.UsageError, match=rf"are wrong in .*\.{facts[0]}: .*({case.says}).*pass check=False"):
        found.require()
    assert "_genkit_handle" not in vars(pipe)


@pytest.mark.parametrize("name", [name for name, case in FACTS.items() if case.early])
def test_it_is_refused_in_the_first_forward(name: str) -> None:
    case = FACTS[name]
    pipe = wrong_pipeline(case)
    with pytest.raises(genkit.UsageError, match=case.says), genkit.apply(pipe):
        SMALL[case.pipeline].video(pipe)
