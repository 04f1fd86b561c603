"""LTX-Video and LTX-2: from text, images, conditions and references."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from genkit.attention.facts.card import Prompts
from genkit.attention.facts.inputs import Input
from genkit.attention.facts.volume import configured
from genkit.pipelines.lengths import twice_as_many
from genkit.pipelines.pipeline_facts import PipelineFacts, Published

TEXTS: Prompts = "masked pairs"
LTX2_LICENCE = "ltx-2-community-license-agreement"
CONDITIONED = "those may contain conditions at any place"
OPEN_WEIGHTS = "LTX-Video-Open-Weights-License-0.X"
LTX_13B = tuple(f"Lightricks/LTX-Video-{name}" for name in ("0.9.7-dev", "0.9.7-distilled", "0.9.8-13B-distilled"))


def _has(name: str, pipe: Any) -> bool:
    return bool(configured(getattr(pipe, "transformer", None), name))


def _has_13b(pipe: Any) -> bool:
    """The larger transformer has heads of 128 channels, the smaller one of 64."""
    return configured(getattr(pipe, "transformer", None), "attention_head_dim") == 128


def _has_five_levels(pipe: Any) -> bool:
    """Since 0.9.5 the autoencoder has five levels; the transformer is configured as before."""
    return len(configured(getattr(pipe, "vae", None), "block_out_channels") or ()) == 5


LTX = (
    Published(
        family="ltx-13b",
        title="LTX-Video 13B",
        when=_has_13b,
        native_frames=121,
        fps=30,
        stride=8,
        defaults={"num_frames": 121, "height": 704, "width": 1216},
        hub_ids=LTX_13B,
        licence=OPEN_WEIGHTS,
        parameters=dict.fromkeys(LTX_13B, 13.04),
    ),
    Published(
        family="ltx-0.9.5",
        title="LTX-Video 0.9.5",
        when=_has_five_levels,
        native_frames=161,
        fps=25,
        stride=8,
        hub_ids=("Lightricks/LTX-Video-0.9.5",),
        licence="OpenRail-M",
        parameters={"Lightricks/LTX-Video-0.9.5": 1.923},
    ),
    Published(
        family="ltx",
        title="LTX-Video",
        native_frames=161,
        fps=25,
        stride=8,
        hub_ids=("Lightricks/LTX-Video",),
        licence=OPEN_WEIGHTS,
        parameters={"Lightricks/LTX-Video": 1.923},
    ),
)


def _ltx2(family: str, title: str, hub_id: str, parameters: float, **changes: Any) -> Published:
    return Published(
        family=family,
        title=title,
        native_frames=121,
        fps=24,
        stride=8,
        hub_ids=(hub_id,),
        parameters={hub_id: parameters},
        defaults={"num_frames": 121},
        **changes,
    )


LTX2 = (
    _ltx2(
        "ltx2.5",
        "LTX-2.5",
        "Lightricks/LTX-2.5-Diffusers",
        18.99,
        licence="ltx-2.x-community-license",
        when=partial(_has, "use_keyframes_abs_pos_embedding"),
    ),
    _ltx2(
        "ltx2",
        "LTX-2",
        "Lightricks/LTX-2",
        18.88,
        licence=LTX2_LICENCE,
        when=partial(_has, "use_prompt_embeddings"),
    ),
    _ltx2("ltx2.3", "LTX-2.3", "diffusers/LTX-2.3-Diffusers", 18.99, licence=LTX2_LICENCE),
)
_SIZES: dict[str, Any] = {
    "stride_attribute": "vae_temporal_compression_ratio",
    "size_attribute": "vae_spatial_compression_ratio",
}


def _condition(value: Any, arguments: Mapping[str, Any], *, last: bool = False) -> list[Any]:
    """Return an image or a video as a condition of LTX: in pixel frames, the last one too."""
    from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition

    place = arguments["num_frames"] - 1 if last else 0
    given = {"video" if isinstance(value, list) else "image": value}
    return [LTXVideoCondition(**given, frame_index=place, strength=arguments.get("strength", 1.0))]


def _condition2(value: Any, arguments: Mapping[str, Any], *, last: bool = False) -> list[Any]:
    """Return an image or a video as a condition of LTX-2: in latent frames, the last one is -1."""
    from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition

    return [LTX2VideoCondition(frames=value, index=-1 if last else 0, strength=arguments.get("strength", 1.0))]


def _reference2(value: Any, arguments: Mapping[str, Any]) -> list[Any]:
    from diffusers.pipelines.ltx2.pipeline_ltx2_ic_lora import LTX2ReferenceCondition

    return [LTX2ReferenceCondition(frames=value, strength=arguments.get("strength", 1.0))]


def _conditions(convert: Callable[..., Any]) -> dict[str, Input]:
    """Return the inputs that are all conditions: an image at either end and a video at the beginning."""
    return {
        "image": Input(argument="conditions", form="image", convert=convert),
        "last_image": Input(argument="conditions", form="image", convert=partial(convert, last=True)),
        "video": Input(argument="conditions", form="video", stepped=True, convert=convert),
        "strength": Input(argument="conditions", form="number"),
    }


_REFERENCE = {
    "reference": Input(argument="reference_conditions", form="images", convert=_reference2),
    "strength": Input(argument="reference_conditions", form="number"),
}


def _ltx(name: str, *needs: str, **changes: Any) -> PipelineFacts:
    return PipelineFacts(
        name=name,
        models=("LTXVideoTransformer3DModel",),
        needs=frozenset(needs),
        branches="halves",
        published=LTX,
        **_SIZES,
        **changes,
    )


def _ltx2_from(name: str, *needs: str, **changes: Any) -> PipelineFacts:
    return PipelineFacts(
        name=name,
        models=("LTX2VideoTransformer3DModel",),
        needs=frozenset(needs),
        branches="halves",
        published=LTX2,
        **_SIZES,
        **changes,
    )


FAMILIES = (
    _ltx("ltx", prompts=TEXTS),
    _ltx("ltx-i2v", "image", prompts=TEXTS, given_frames=1),
    _ltx("ltx-condition", "image", "conditions", prompts=TEXTS, given=CONDITIONED, takes=_conditions(_condition)),
    _ltx("ltx-long", "cond_image", "prompt_segments", given="each of its windows draws other noise"),
    _ltx2_from("ltx2"),
    _ltx2_from("ltx2-i2v", "image", given_frames=1),
    _ltx2_from("ltx2-condition", "conditions", given=CONDITIONED, takes=_conditions(_condition2)),
    _ltx2_from("ltx2-reference", "reference_conditions", given=CONDITIONED, takes=_REFERENCE),
    _ltx2_from(
        "ltx2-refine",
        "conditions",
        "temporal_latent_upsampler",
        given=CONDITIONED,
        takes=_conditions(_condition2),
        made_frames=twice_as_many,
    ),
    _ltx2_from(
        "ltx2-in-context",
        "conditions",
        "reference_conditions",
        given=CONDITIONED,
        takes={**_conditions(_condition2), **_REFERENCE},
    ),
)
