"""SkyReels-V2 from text and images, and its diffusion forcing, where each latent frame has a noise level."""

from genkit.attention.facts.made import rounded
from genkit.pipelines.families.wan import of_images
from genkit.pipelines.lengths import after_video, overlapping_parts
from genkit.pipelines.pipeline_facts import PipelineFacts, Published

MODELS = ("SkyReelsV2Transformer3DModel",)

FAMILIES = (
    PipelineFacts(
        name="skyreels-v2",
        models=MODELS,
        made_frames=rounded,
        prompts="pairs",
        published=(
            Published(
                family="skyreels-v2",
                title="SkyReels-V2",
                native_frames=97,
                fps=24,
                hub_ids=("Skywork/SkyReels-V2-T2V-14B-540P-Diffusers",),
                parameters={"Skywork/SkyReels-V2-T2V-14B-540P-Diffusers": 14.29},
                licence="skywork",
            ),
        ),
    ),
    PipelineFacts(
        name="skyreels-v2-i2v",
        models=MODELS,
        made_frames=rounded,
        needs=frozenset({"image"}),
        prompts="pairs",
        read=of_images,
        published=(
            Published(
                family="skyreels-v2-i2v",
                title="SkyReels-V2 I2V",
                native_frames=97,
                fps=24,
                hub_ids=("Skywork/SkyReels-V2-I2V-14B-540P-Diffusers",),
                parameters={"Skywork/SkyReels-V2-I2V-14B-540P-Diffusers": 16.39},
                licence="skywork",
            ),
        ),
    ),
    PipelineFacts(
        name="skyreels-v2-df",
        models=MODELS,
        made_frames=after_video,
        parts_made=overlapping_parts,
        needs=frozenset({"ar_step", "overlap_history"}),
        prompts="pairs",
        published=(
            Published(
                family="skyreels-v2-df",
                title="SkyReels-V2 DF",
                native_frames=97,
                fps=24,
                hub_ids=(
                    "Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers",
                    "Skywork/SkyReels-V2-DF-14B-540P-Diffusers",
                    "Skywork/SkyReels-V2-DF-14B-720P-Diffusers",
                ),
                licence="skywork",
                parameters={
                    "Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers": 1.436,
                    "Skywork/SkyReels-V2-DF-14B-540P-Diffusers": 14.29,
                    "Skywork/SkyReels-V2-DF-14B-720P-Diffusers": 14.29,
                },
            ),
        ),
    ),
)
