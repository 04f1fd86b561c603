"""Mochi, and MiniMax-H3: video with sound, which diffusers has as a modular pipeline only."""

from collections.abc import Mapping
from typing import Any

from genkit.attention.facts.inputs import Input
from genkit.attention.facts.lengths import Lengths
from genkit.pipelines.pipeline_facts import PipelineFacts, Published


def _references(images: Any, arguments: Mapping[str, Any]) -> list[Any]:
    """Return images as the references of MiniMax-H3, which reads each at a size of its own."""
    from diffusers.modular_pipelines.minimax_h3.references import MiniMaxH3ImageReference

    return [MiniMaxH3ImageReference(image=image) for image in images]


FAMILIES = (
    PipelineFacts(
        name="mochi",
        models=("MochiTransformer3DModel",),
        prompts="masked pairs",
        stride_attribute="vae_temporal_scale_factor",
        size_attribute="vae_spatial_scale_factor",
        branches="halves",
        ascending_sigmas=True,
        published=(
            Published(
                family="mochi",
                title="Mochi 1",
                native_frames=163,
                fps=30,
                stride=6,
                hub_ids=("genmo/mochi-1-preview",),
                parameters={"genmo/mochi-1-preview": 10.03},
                licence="Apache-2.0",
            ),
        ),
    ),
    PipelineFacts(
        name="minimax-h3",
        models=("MiniMaxH3Transformer3DModel",),
        components=("transformer", "transformer_ref"),
        size_attribute="vae_spatial_compression_ratio",
        stride_attribute=None,
        spans=(1, 4, 4, 4, 4),
        last_timestep=1.0,
        fixed_rate=True,
        takes={"reference": Input(argument="references", form="images", fitted=False, convert=_references)},
        given="those are rows of a sequence that keyframes and references stand in too",
        published=(
            Published(
                family="minimax-h3",
                title="MiniMax-H3",
                native_frames=345,
                fps=24,
                own_lengths=Lengths(step=17, offset=5, shortest=124, longest=345),
                defaults={"num_frames": 124},
                hub_ids=("MiniMaxAI/MiniMax-H3",),
                licence="minimax-community, not for use in the EU, the UK, South Korea and the US",
            ),
        ),
    ),
)
