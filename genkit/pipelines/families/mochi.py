"""Mochi."""

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
)
