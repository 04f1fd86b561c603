"""Mochi, and MiniMax-H3: video with sound, which diffusers has as a modular pipeline only."""

from genkit.attention.facts.lengths import Lengths
from genkit.pipelines.pipeline_facts import PipelineFacts, Published

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
