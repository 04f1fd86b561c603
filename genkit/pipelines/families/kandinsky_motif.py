"""Kandinsky 5 and 6, and Motif."""

from typing import Any

from genkit.attention.facts.volume import configured
from genkit.pipelines.pipeline_facts import PipelineFacts, Published


def _is_for_ten_seconds(pipe: Any) -> bool:
    return configured(getattr(pipe, "transformer", None), "attention_type") == "nabla"


FAMILIES = (
    PipelineFacts(
        name="kandinsky5",
        models=("Kandinsky5Transformer3DModel",),
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
            ),
        ),
    ),
    PipelineFacts(
        name="kandinsky6",
        models=("Kandinsky6Transformer3DModel",),
        published=(
            Published(
                family="kandinsky6",
                title="Kandinsky 6",
                native_frames=121,
                fps=24,
                hub_ids=("kandinskylab/Kandinsky-6.0-Pro-distill-5s-Diffusers",),
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
