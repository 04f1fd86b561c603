"""Kandinsky 5 and 6."""

from dataclasses import replace

from torch import nn

from genkit.attention.calls.call import Kind
from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.positions import fixed_positions
from genkit.attention.facts.volume import Arguments, Volume, channels_last, configured

MATRICES = fixed_positions("rotates by 2 x 2 matrices, which no plug-in rewrites")
_SELF = r"visual_transformer_blocks\.\d+\.self_attention"
_CROSS: dict[Kind, str] = {"cross": r"visual_transformer_blocks\.\d+\.cross_attention"}
_TEXT = "it sees text alone"
_SOUND = "it is part of the sound"


def _without_nabla(facts: ModelFacts, model: nn.Module) -> ModelFacts:
    """The checkpoints for 10 seconds or for HD have sparse attention of their own, in an order of 8 x 8 tokens."""
    if configured(model, "attention_type") != "nabla":
        return facts
    return replace(facts, layers=_CROSS, blocks=(), dense={_SELF: "they have sparse attention of their own (NABLA)"})


def _without_reference(model: nn.Module, arguments: Arguments) -> Volume:
    """Read the video's frames alone: a reference image is one more frame behind them, of another type."""
    frames, rows, cols = channels_last(model, arguments)
    kinds = arguments.get("visual_token_type_ids")
    return frames - (0 if kinds is None else int((kinds[0] != 0).sum())), rows, cols


MODELS = (
    ModelFacts(
        classes=("Kandinsky5Transformer3DModel",),
        layers={"self": _SELF, **_CROSS},
        excluded={r"text_transformer_blocks\.\d+\.self_attention": _TEXT},
        blocks=("visual_transformer_blocks",),
        volume=channels_last,
        frame_axis=1,
        positions=MATRICES,
        read=_without_nabla,
    ),
    ModelFacts(
        classes=("Kandinsky6Transformer3DModel",),
        layers={
            "joint": r"visual_transformer_blocks\.\d+\.video_dec_block\.self_attention",
            "cross": r"visual_transformer_blocks\.\d+\.video_dec_block\.cross_attention",
        },
        excluded={
            r"(video|audio)_text_transformer_blocks\.\d+\.(self_)?att(entio)?n": _TEXT,
            r"visual_transformer_blocks\.\d+\.audio_dec_block\.(self|cross)_attention": _SOUND,
            r"visual_transformer_blocks\.\d+\.(va|av)_cross_attention": "it joins the video with its sound",
        },
        volume=_without_reference,
        frame_axis=1,
        positions=MATRICES,
    ),
    ModelFacts(
        classes=("Kandinsky6SRTransformer3DModel",),
        layers={},
        volume=channels_last,
        frame_axis=1,
        refused="its attention is sparse already: FlexAttention with a block mask of its own (NABLA) in every layer",
    ),
)
