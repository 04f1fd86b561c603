"""LTX-Video and LTX-2."""

from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.positions import LTX_POSITIONS, fixed_positions
from genkit.attention.facts.volume import packed, packed_before, packed_others

AUDIO = r"transformer_blocks\.\d+\.audio_attn[12]"

MODELS = (
    ModelFacts(
        classes=("LTXVideoTransformer3DModel",),
        layers={"self": r"transformer_blocks\.\d+\.attn1", "cross": r"transformer_blocks\.\d+\.attn2"},
        blocks=("transformer_blocks",),
        volume=packed,
        before=packed_before,
        others_in_self=packed_others,
        frame_axis=None,
        positions=LTX_POSITIONS,
        one_level=None,
    ),
    ModelFacts(
        classes=("LTX2VideoTransformer3DModel",),
        layers={"self": r"transformer_blocks\.\d+\.attn1"},
        excluded={
            AUDIO: "it sees audio and its text alone",
            r"transformer_blocks\.\d+\.attn2": "a connector has mixed its text, so no key is of one event",
            r"transformer_blocks\.\d+\.audio_to_video_attn": "its keys are audio",
            r"transformer_blocks\.\d+\.video_to_audio_attn": "its queries are audio",
        },
        blocks=("transformer_blocks",),
        volume=packed,
        before=packed_before,
        others_in_self=packed_others,
        frame_axis=None,
        positions=fixed_positions("gives each token begin and end in seconds, shared with its audio"),
        one_level="its video and its audio share one schedule",
    ),
)
