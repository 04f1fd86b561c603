"""LTX-Video and LTX-2: from text, images, conditions and references."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from genkit.attention.facts.card import Prompts
from genkit.attention.facts.inputs import Convert, Input
from genkit.attention.facts.volume import configured
from genkit.pipelines.pipeline_facts import PipelineFacts, Published

TEXTS: Prompts = "masked pairs"
CONDITIONED = "those may contain conditions at any place"
LTX = (
    Published(
        family="ltx",
        title="LTX-Video",
        native_frames=161,
        fps=25,
        stride=8,
        hub_ids=("Lightricks/LTX-Video",),
        licence="ltx-video-open-weights",
    ),
)


def _has(name: str, pipe: Any) -> bool:
    return bool(configured(getattr(pipe, "transformer", None), name))


def _ltx2(family: str, title: str, hub_id: str, **changes: Any) -> Published:
    return Published(
        family=family,
        title=title,
        native_frames=121,
        fps=24,
        stride=8,
        hub_ids=(hub_id,),
        licence="ltx-2.x-community",
        defaults={"num_frames": 121},
        **changes,
    )


LTX2 = (
    _ltx2(
        "ltx2.5",
        "LTX-2.5",
        "Lightricks/LTX-2.5-Diffusers",
        when=partial(_has, "use_keyframes_abs_pos_embedding"),
    ),
    _ltx2("ltx2", "LTX-2", "Lightricks/LTX-2", when=partial(_has, "use_prompt_embeddings")),
    _ltx2("ltx2.3", "LTX-2.3", "diffusers/LTX-2.3-Diffusers"),
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


def _conditions(convert: Convert) -> dict[str, Input]:
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
        "ltx2-in-context",
        "conditions",
        "reference_conditions",
        given=CONDITIONED,
        takes={**_conditions(_condition2), **_REFERENCE},
    ),
)
