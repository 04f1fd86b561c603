"""Kandinsky 5 and 6, and Motif."""

from typing import Any

from genkit.attention.facts.made import rounded
from genkit.attention.facts.volume import configured
from genkit.pipelines.pipeline_facts import PipelineFacts, Published


def _is_for_ten_seconds(pipe: Any) -> bool:
    """NABLA is in the checkpoints for ten seconds, and in those for five seconds in HD, where it reads 0.8 of the
    softmax mass; the others read 0.9 or 0.7."""
    model = getattr(pipe, "transformer", None)
    return configured(model, "attention_type") == "nabla" and configured(model, "attention_P") != 0.8


FAMILIES = (
    PipelineFacts(
        name="kandinsky5",
        models=("Kandinsky5Transformer3DModel",),
        made_frames=rounded,
        branches="order",
        channel_axis=-1,
        published=(
            Published(
                family="kandinsky5-10s",
                title="Kandinsky 5 for 10 seconds",
                when=_is_for_ten_seconds,
                native_frames=241,
                fps=24,
                hub_ids=("kandinskylab/Kandinsky-5.0-T2V-Lite-sft-10s-Diffusers",),
                licence="MIT",
                parameters={"kandinskylab/Kandinsky-5.0-T2V-Lite-sft-10s-Diffusers": 2.008},
            ),
            Published(
                family="kandinsky5",
                title="Kandinsky 5",
                native_frames=121,
                fps=24,
                hub_ids=(
                    "kandinskylab/Kandinsky-5.0-T2V-Lite-sft-5s-Diffusers",
                    "kandinskylab/Kandinsky-5.0-T2V-Pro-sft-5s-Diffusers",
                    "kandinskylab/Kandinsky-5.0-I2V-Pro-sft-5s-Diffusers",
                ),
                licence="MIT",
                parameters={
                    "kandinskylab/Kandinsky-5.0-T2V-Lite-sft-5s-Diffusers": 2.008,
                    "kandinskylab/Kandinsky-5.0-T2V-Pro-sft-5s-Diffusers": 19.31,
                    "kandinskylab/Kandinsky-5.0-I2V-Pro-sft-5s-Diffusers": 19.31,
                },
            ),
        ),
    ),
    PipelineFacts(
        name="kandinsky6",
        models=("Kandinsky6Transformer3DModel",),
        made_frames=rounded,
        published=(
            Published(
                family="kandinsky6",
                title="Kandinsky 6",
                native_frames=121,
                fps=24,
                hub_ids=("kandinskylab/Kandinsky-6.0-Pro-distill-5s-Diffusers",),
                parameters={"kandinskylab/Kandinsky-6.0-Pro-distill-5s-Diffusers": 30.14},
            ),
        ),
    ),
    PipelineFacts(
        name="motif",
        models=("MotifVideoTransformer3DModel",),
        published=(
            Published(
                family="motif",
                title="Motif-Video",
                native_frames=121,
                fps=24,
                hub_ids=("Motif-Technologies/Motif-Video-2B",),
                licence="Apache-2.0",
            ),
        ),
    ),
)
