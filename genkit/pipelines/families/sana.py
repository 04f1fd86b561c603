"""SANA-Video and SANA-WM."""

from dataclasses import replace
from typing import Any

from genkit.attention.facts.call import defaults_of_call
from genkit.attention.facts.card import Card
from genkit.pipelines.pipeline_facts import PipelineFacts, Published


def _from_image(card: Card, pipe: Any) -> Card:
    """A pipeline that takes an image puts it into the first latent frame."""
    return replace(card, given_frames=1) if "image" in defaults_of_call(pipe) else card


FAMILIES = (
    PipelineFacts(
        name="sana-video",
        models=("SanaVideoTransformer3DModel",),
        length_argument="frames",
        branches="halves",
        read=_from_image,
        published=(
            Published(
                family="sana-video",
                title="SANA-Video",
                native_frames=81,
                fps=16,
                hub_ids=("Efficient-Large-Model/SANA-Video_2B_480p_diffusers",),
                licence="nvidia-open-model-license",
                parameters={"Efficient-Large-Model/SANA-Video_2B_480p_diffusers": 2.057},
            ),
        ),
    ),
    PipelineFacts(
        name="sana-wm",
        models=("SanaWMTransformer3DModel",),
        stride_attribute="vae_temporal_compression_ratio",
        size_attribute="vae_spatial_compression_ratio",
        branches="halves",
        read=_from_image,
        published=(
            Published(
                family="sana-wm",
                title="SANA-WM",
                native_frames=161,
                fps=16,
                stride=8,
                hub_ids=("Efficient-Large-Model/SANA-WM_bidirectional-diffusers",),
            ),
        ),
    ),
)
