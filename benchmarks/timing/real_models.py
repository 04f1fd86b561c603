"""The sizes of published models: the inputs of their attention, and how their transformers are built.

Values that are defaults of the transformer's class in diffusers are not repeated; ``source`` states where the others
are published. Latent frames, rows and columns follow from each model's usual video by the strides of its video
autoencoder (Wan, HunyuanVideo, CogVideoX: 4 in time, 8 in space, and patches of 2 x 2; LTX: 8 and 32).
"""

from dataclasses import dataclass, field, replace
from typing import Any

from genkit.attention.calls.call import Kind
from genkit.attention.facts.known import facts_of_name
from genkit.attention.facts.model_facts import ModelFacts, all_before
from genkit.attention.geometry.grid import VideoGrid, latent_frames
from genkit.errors import UsageError, nearest
from genkit.pipelines.known import checkpoints
from genkit.pipelines.pipeline_facts import Published

Volume = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class RealModel:
    """One model at one video size, or a scaled-down version of it."""

    name: str
    title: str
    family: str
    """Family of its published checkpoints."""
    transformer: str
    """Class in diffusers."""
    pipeline: str
    """The same of its pipeline."""
    volume: Volume
    """Latent frames, rows and columns of tokens."""
    heads: int
    width: int
    """Channels of a head."""
    layers: dict[str, int]
    """Number of layers of each kind, by their names in the configuration."""
    text: int = 0
    """Text tokens in the same attention; 0 if text has its own."""
    batch: int = 1
    """Samples of one forward: 2 where guidance joins both branches."""
    config: dict[str, Any] = field(default_factory=dict)
    """Arguments that differ from the class's defaults, or depend on the size."""
    by_heads: dict[str, int] = field(default_factory=dict)
    """The same for those that grow with the number of heads."""
    source: str
    """Place where the numbers are published."""
    scaled_from: dict[str, Any] | None = None
    """Volume, tokens, heads and layers of the real model; None if this is the real model."""

    @property
    def published(self) -> Published:
        """Numbers of the checkpoints."""
        return next(one for one in checkpoints() if one.family == self.family)

    @property
    def facts(self) -> ModelFacts:
        """Facts of the transformer's class."""
        facts = facts_of_name(self.transformer)
        assert facts is not None, self.transformer
        return facts

    @property
    def kind(self) -> Kind:
        """Kind of the attention over all frames."""
        return "joint" if "joint" in self.facts.layers else "self"

    @property
    def grid(self) -> VideoGrid:
        """The geometry of one attention call."""
        published, (frames, rows, cols) = self.published, self.volume
        text_first = self.facts.before is all_before
        stride = published.stride * self.config.get("patch_size_t", 1)
        return VideoGrid(
            frames=frames,
            rows=rows,
            cols=cols,
            before=self.text if text_first else 0,
            after=0 if text_first else self.text,
            stride=stride,
            fps=published.fps,
            native_frames=latent_frames(published.native_frames, stride),
        )

    def scale(self, tokens: int, heads: int, layers: int | None = None) -> "RealModel":
        """Return a version with at most about ``tokens`` tokens, ``heads`` heads and ``layers`` layers of a kind.

        All three axes shrink by the same factor, text with the number of tokens. None keeps the layers.
        """
        share = min(1.0, tokens / self.grid.tokens)
        frames, rows, cols = (max(1, round(n * share ** (1 / 3))) for n in self.volume)
        fewer = min(heads, self.heads)
        small = replace(
            self,
            volume=(frames, rows, cols),
            text=max(min(1, self.text), round(self.text * share)),
            heads=fewer,
            layers={name: min(n, layers or n) for name, n in self.layers.items()},
            by_heads={name: n * fewer // self.heads for name, n in self.by_heads.items()},
        )
        return self if small == self else replace(small, scaled_from=self.size)

    @property
    def size(self) -> dict[str, Any]:
        """Size of the real model, stored with a scaled-down version."""
        return {
            "volume": list(self.volume),
            "text": self.text,
            "tokens": self.grid.tokens,
            "heads": self.heads,
            "layers": self.layers,
        }

    @property
    def scaling(self) -> str:
        """A sentence on the scaling; empty for the real size."""
        if self.scaled_from is None:
            return ""
        real = self.scaled_from
        return f"scaled down from {real['tokens']:,} tokens of {real['heads']} heads, {real['volume']}"


MODELS = {
    model.name: model
    for model in (
        RealModel(
            name="wan-1.3b-480p",
            title="Wan 2.1 1.3B, 832 x 480, 81 frames",
            family="wan",
            transformer="WanTransformer3DModel",
            pipeline="WanPipeline",
            volume=(21, 30, 52),
            heads=12,
            width=128,
            layers={"num_layers": 30},
            by_heads={"ffn_dim": 8960},
            source="transformer/config.json of Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        ),
        RealModel(
            name="wan-14b-720p",
            title="Wan 2.1 14B, 1280 x 720, 81 frames",
            family="wan",
            transformer="WanTransformer3DModel",
            pipeline="WanPipeline",
            volume=(21, 45, 80),
            heads=40,
            width=128,
            layers={"num_layers": 40},
            by_heads={"ffn_dim": 13824},
            source="defaults of diffusers.WanTransformer3DModel",
        ),
        RealModel(
            name="hunyuan-720p",
            title="HunyuanVideo, 1280 x 720, 129 frames",
            family="hunyuanvideo",
            transformer="HunyuanVideoTransformer3DModel",
            pipeline="HunyuanVideoPipeline",
            volume=(33, 45, 80),
            text=256,
            heads=24,
            width=128,
            layers={"num_layers": 20, "num_single_layers": 40},
            source="defaults of diffusers.HunyuanVideoTransformer3DModel and HunyuanVideoPipeline",
        ),
        RealModel(
            name="cogvideox-2b",
            title="CogVideoX 2B, 720 x 480, 49 frames",
            family="cogvideox",
            transformer="CogVideoXTransformer3DModel",
            pipeline="CogVideoXPipeline",
            volume=(13, 30, 45),
            text=226,
            heads=30,
            width=64,
            layers={"num_layers": 30},
            batch=2,
            source="defaults of diffusers.CogVideoXTransformer3DModel",
        ),
        RealModel(
            name="cogvideox",
            title="CogVideoX 5B, 720 x 480, 49 frames",
            family="cogvideox",
            transformer="CogVideoXTransformer3DModel",
            pipeline="CogVideoXPipeline",
            volume=(13, 30, 45),
            text=226,
            heads=48,
            width=64,
            layers={"num_layers": 42},
            batch=2,
            config={"use_rotary_positional_embeddings": True},
            source="transformer/config.json of THUDM/CogVideoX-5b",
        ),
        RealModel(
            name="ltx",
            title="LTX-Video 2B, 704 x 512, 161 frames",
            family="ltx",
            transformer="LTXVideoTransformer3DModel",
            pipeline="LTXPipeline",
            volume=(21, 16, 22),
            heads=32,
            width=64,
            layers={"num_layers": 28},
            batch=2,
            by_heads={"cross_attention_dim": 2048},
            source="defaults of diffusers.LTXVideoTransformer3DModel and LTXPipeline",
        ),
    )
}


def find_model(name: str) -> RealModel:
    """Return one of ``MODELS``.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in MODELS:
        raise UsageError(f"there is no shape or model called {name!r}; {nearest(name, MODELS)}")
    return MODELS[name]
