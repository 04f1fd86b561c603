"""SANA-Video and SANA-WM."""

from genkit.pipelines.pipeline_facts import PipelineFacts, Published

FAMILIES = (
    PipelineFacts(
        name="sana-video",
        models=("SanaVideoTransformer3DModel",),
        branches="halves",
        published=(
            Published(
                family="sana-video",
                title="SANA-Video",
                native_frames=81,
                fps=16,
                hub_ids=("Efficient-Large-Model/SANA-Video_2B_480p_diffusers",),
            ),
        ),
    ),
    PipelineFacts(
        name="sana-wm",
        models=("SanaWMTransformer3DModel",),
        stride_attribute="vae_temporal_compression_ratio",
        size_attribute="vae_spatial_compression_ratio",
        branches="halves",
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
