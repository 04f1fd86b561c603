"""HunyuanVideo."""

from genkit.pipelines.pipeline_facts import PipelineFacts, Published

FAMILIES = (
    PipelineFacts(
        name="hunyuanvideo",
        models=("HunyuanVideoTransformer3DModel",),
        published=(
            Published(
                family="hunyuanvideo",
                title="HunyuanVideo",
                native_frames=129,
                fps=24,
                hub_ids=("hunyuanvideo-community/HunyuanVideo",),
                licence="tencent-hunyuan-community",
            ),
        ),
    ),
)
