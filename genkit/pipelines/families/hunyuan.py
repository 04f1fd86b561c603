"""HunyuanVideo, SkyReels V1, FramePack and HunyuanVideo 1.5."""

from genkit.pipelines.lengths import in_sections, without_image
from genkit.pipelines.pipeline_facts import PipelineFacts, Published

LICENCE = "tencent-hunyuan-community"
HUNYUANVIDEO_15 = tuple(
    f"hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-{size}_{task}"
    for task in ("t2v", "i2v")
    for size in ("480p", "720p")
)

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
                licence=LICENCE,
                parameters={"hunyuanvideo-community/HunyuanVideo": 12.82},
            ),
        ),
    ),
    PipelineFacts(
        name="hunyuanvideo-i2v",
        models=("HunyuanVideoTransformer3DModel",),
        needs=frozenset({"image", "image_processor"}),
        made_frames=without_image,
        length_is_made=False,
        branches="order",
        published=(
            Published(
                family="hunyuanvideo-i2v",
                title="HunyuanVideo I2V",
                native_frames=129,
                fps=24,
                hub_ids=("hunyuanvideo-community/HunyuanVideo-I2V",),
                licence=LICENCE,
                parameters={"hunyuanvideo-community/HunyuanVideo-I2V": 12.82},
            ),
        ),
    ),
    PipelineFacts(
        name="skyreels-v1",
        models=("HunyuanVideoTransformer3DModel",),
        needs=frozenset({"image"}),
        branches="order",
        published=(
            Published(
                family="skyreels-v1",
                title="SkyReels V1 I2V",
                native_frames=97,
                fps=24,
                hub_ids=("Skywork/SkyReels-V1-Hunyuan-I2V",),
                licence=f"{LICENCE}, Apache-2.0 for what Skywork added",
                defaults={"num_frames": 97, "height": 544, "width": 960},
            ),
        ),
    ),
    PipelineFacts(
        name="framepack",
        models=("HunyuanVideoFramepackTransformer3DModel",),
        made_frames=in_sections,
        branches="order",
        published=(
            Published(
                family="framepack",
                title="FramePack",
                native_frames=33,
                fps=30,
                hub_ids=("lllyasviel/FramePackI2V_HY",),
                parameters={"lllyasviel/FramePackI2V_HY": 12.87},
            ),
        ),
    ),
    PipelineFacts(
        name="hunyuanvideo1.5",
        models=("HunyuanVideo15Transformer3DModel",),
        published=(
            Published(
                family="hunyuanvideo1.5",
                title="HunyuanVideo 1.5",
                native_frames=121,
                fps=24,
                hub_ids=HUNYUANVIDEO_15,
                licence=LICENCE,
                parameters=dict.fromkeys(HUNYUANVIDEO_15, 8.327),
            ),
        ),
    ),
)
