"""Allegro, Latte and EasyAnimate."""

from genkit.pipelines.pipeline_facts import PipelineFacts, Published

FAMILIES = (
    PipelineFacts(
        name="allegro",
        models=("AllegroTransformer3DModel",),
        branches="halves",
        published=(
            Published(
                family="allegro",
                title="Allegro",
                native_frames=88,
                fps=15,
                multiple=1,
                hub_ids=("rhymes-ai/Allegro",),
                licence="Apache-2.0",
            ),
        ),
    ),
    PipelineFacts(
        name="latte",
        models=("LatteTransformer3DModel",),
        stride_attribute=None,
        size_attribute="vae_scale_factor",
        branches="halves",
        published=(
            Published(
                family="latte",
                title="Latte",
                native_frames=16,
                fps=8,
                stride=1,
                hub_ids=("maxin-cn/Latte-1",),
                licence="Apache-2.0",
            ),
        ),
    ),
    PipelineFacts(
        name="easyanimate",
        models=("EasyAnimateTransformer3DModel",),
        stride_attribute="vae_temporal_compression_ratio",
        size_attribute="vae_spatial_compression_ratio",
        branches="halves",
        published=(
            Published(
                family="easyanimate",
                title="EasyAnimate 5.1",
                native_frames=49,
                fps=8,
                hub_ids=("alibaba-pai/EasyAnimateV5.1-12b-zh",),
            ),
        ),
    ),
    PipelineFacts(
        name="easyanimate-control",
        models=("EasyAnimateTransformer3DModel",),
        needs=frozenset({"control_video"}),
        refused="diffusers cannot run it: its encode_prompt() does not take the text_encoder_index that every call "
        "passes",
    ),
)
