"""Cosmos 1, 2, 2.5 and 3."""

from dataclasses import replace
from typing import Any

from genkit.attention.facts.card import Card
from genkit.attention.facts.inputs import Input
from genkit.attention.facts.made import as_asked
from genkit.attention.facts.volume import configured
from genkit.pipelines.lengths import within_controls
from genkit.pipelines.pipeline_facts import PipelineFacts, Published


def _is_first(pipe: Any) -> bool:
    """Cosmos 1 adds learned positions to the rotary ones."""
    return configured(getattr(pipe, "transformer", None), "extra_pos_embed_type") == "learnable"


def _has_projected_text(pipe: Any) -> bool:
    """Cosmos 2.5 reads every layer of its text encoder at once."""
    return bool(configured(getattr(pipe, "transformer", None), "use_crossattn_projection"))


def _repeats_frames(card: Card, pipe: Any) -> Card:
    """Cosmos 2.5 repeats the last frame up to the length that was asked for."""
    return replace(card, made_frames=as_asked) if _has_projected_text(pipe) else card


LICENCE = "nvidia-open-model-license"

FAMILIES = (
    PipelineFacts(
        name="cosmos",
        models=("CosmosTransformer3DModel",),
        branches="order",
        read=_repeats_frames,
        published=(
            Published(
                family="cosmos1",
                title="Cosmos 1",
                when=_is_first,
                native_frames=121,
                fps=30,
                stride=8,
                hub_ids=(
                    "nvidia/Cosmos-1.0-Diffusion-7B-Text2World",
                    "nvidia/Cosmos-1.0-Diffusion-7B-Video2World",
                ),
                licence=LICENCE,
                parameters={
                    "nvidia/Cosmos-1.0-Diffusion-7B-Text2World": 7.236,
                    "nvidia/Cosmos-1.0-Diffusion-7B-Video2World": 7.236,
                },
            ),
            Published(
                family="cosmos2.5",
                title="Cosmos 2.5",
                when=_has_projected_text,
                native_frames=93,
                fps=16,
                hub_ids=("nvidia/Cosmos-Predict2.5-2B",),
                licence=LICENCE,
                parameters={"nvidia/Cosmos-Predict2.5-2B": 2.059},
            ),
            Published(
                family="cosmos2",
                title="Cosmos 2",
                native_frames=93,
                fps=16,
                hub_ids=("nvidia/Cosmos-Predict2-2B-Video2World",),
                licence=LICENCE,
                parameters={"nvidia/Cosmos-Predict2-2B-Video2World": 1.956},
            ),
        ),
    ),
    PipelineFacts(
        name="cosmos-transfer",
        models=("CosmosTransformer3DModel",),
        needs=frozenset({"controlnet", "num_frames_per_chunk"}),
        components=("transformer", "controlnet"),
        made_frames=within_controls,
        branches="order",
        takes={"control": Input(argument="controls", form="video", whole=True, required=True)},
        published=(
            Published(
                family="cosmos2.5-transfer",
                title="Cosmos 2.5 Transfer",
                native_frames=93,
                fps=30,
                hub_ids=("nvidia/Cosmos-Transfer2.5-2B",),
                parameters={"nvidia/Cosmos-Transfer2.5-2B": 2.885},
                licence=LICENCE,
            ),
        ),
    ),
    PipelineFacts(
        name="cosmos3",
        models=("Cosmos3OmniTransformer",),
        given_by=("image", "video", "action"),
        published=(
            Published(
                family="cosmos3",
                title="Cosmos 3",
                native_frames=189,
                fps=24,
                defaults={"num_frames": 189, "height": 720, "width": 1280},
                hub_ids=("nvidia/Cosmos3-Nano", "nvidia/Cosmos3-Super"),
            ),
        ),
    ),
)
