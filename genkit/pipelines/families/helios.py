"""Helios: minutes of video, chunk by chunk."""

from genkit.pipelines.lengths import chunks, in_chunks
from genkit.pipelines.pipeline_facts import PipelineFacts, Published

FAMILIES = (
    PipelineFacts(
        name="helios",
        models=("HeliosTransformer3DModel",),
        prompts="pairs",
        made_frames=in_chunks,
        parts_made=chunks,
        published=(
            Published(
                family="helios",
                title="Helios",
                native_frames=33,
                fps=24,
                multiple=1,  # the pipeline adds frames to fill the last chunk
                hub_ids=("BestWishYsh/Helios-Base", "BestWishYsh/Helios-Mid", "BestWishYsh/Helios-Distilled"),
                licence="Apache-2.0",
                parameters={"BestWishYsh/Helios-Base": 14.31},
            ),
        ),
    ),
)
