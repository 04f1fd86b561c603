"""LTX-Video."""

from genkit.pipelines.pipeline_facts import PipelineFacts, Published

FAMILIES = (
    PipelineFacts(
        name="ltx",
        models=("LTXVideoTransformer3DModel",),
        prompts="masked pairs",
        stride_attribute="vae_temporal_compression_ratio",
        size_attribute="vae_spatial_compression_ratio",
        branches="halves",
        published=(
            Published(
                family="ltx",
                title="LTX-Video",
                native_frames=161,
                fps=25,
                stride=8,
                hub_ids=("Lightricks/LTX-Video",),
                licence="ltx-video-open-weights",
            ),
        ),
    ),
)
