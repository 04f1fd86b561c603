"""LTX-Video and LTX-2: from text, images, conditions and references."""

from functools import partial
from typing import Any

from genkit.attention.facts.card import Prompts
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
    _ltx("ltx-condition", "image", "conditions", prompts=TEXTS, given=CONDITIONED),
    _ltx("ltx-long", "cond_image", "prompt_segments", given="each of its windows draws other noise"),
    _ltx2_from("ltx2"),
    _ltx2_from("ltx2-i2v", "image", given_frames=1),
    _ltx2_from("ltx2-condition", "conditions", given=CONDITIONED),
    _ltx2_from("ltx2-reference", "reference_conditions", given=CONDITIONED),
    _ltx2_from("ltx2-in-context", "conditions", "reference_conditions", given=CONDITIONED),
)
