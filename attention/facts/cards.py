"""Facts of each model family, overridden by a pipeline's configuration. A new family is one card."""

from dataclasses import replace
from typing import Any

from genkit.attention.calls.call import Kind
from genkit.attention.facts.model_card import ModelCard
from genkit.attention.facts.positions import (
    ANIMATEDIFF_POSITIONS,
    COGVIDEOX_2B_POSITIONS,
    COGVIDEOX_POSITIONS,
    HUNYUAN_POSITIONS,
    LTX_POSITIONS,
    MOCHI_POSITIONS,
    NO_POSITIONS,
    WAN_POSITIONS,
)
from genkit.attention.facts.volume import channels_first, configured, frames_first, packed, patch_of, plain_model, unet

_DIT_LAYERS: dict[str, dict[Kind, str]] = {
    "wan": {"self": r"blocks\.\d+\.attn1", "cross": r"blocks\.\d+\.attn2"},
    "hunyuan": {"joint": r"(single_)?transformer_blocks\.\d+\.attn"},
    "joint": {"joint": r"transformer_blocks\.\d+\.attn1"},
    "ltx": {"self": r"transformer_blocks\.\d+\.attn1", "cross": r"transformer_blocks\.\d+\.attn2"},
}


def _is_embedded(pipe: Any) -> bool:
    """Only the embedded model has an autoencoder of this class, a single matrix."""
    vae = plain_model(getattr(pipe, "vae", None))
    return "PatchAutoencoder" in (kind.__name__ for kind in type(vae).__mro__)


def _is_wan_5b(pipe: Any) -> bool:
    """Wan 2.2 TI2V-5B: 48 latent channels of 16 x 16 pixels, and a noise level for each token."""
    wide = configured(getattr(pipe, "transformer", None), "in_channels") == 48
    return wide or bool(configured(pipe, "expand_timesteps")) or getattr(pipe, "vae_scale_factor_spatial", 8) == 16


def _has_two_experts(pipe: Any) -> bool:
    return getattr(pipe, "transformer_2", None) is not None or configured(pipe, "boundary_ratio") is not None


def _has_time_patches(pipe: Any) -> bool:
    return patch_of(getattr(pipe, "transformer", None))[0] > 1


def _cogvideox(card: ModelCard, pipe: Any) -> ModelCard:
    """Longer training clips are read from the configuration; a checkpoint without rotary positions adds a sinusoid."""
    model = card.model(pipe)
    frames = configured(model, "sample_frames") or 0
    rotary = configured(model, "use_rotary_positional_embeddings")
    positions = COGVIDEOX_POSITIONS if rotary else COGVIDEOX_2B_POSITIONS
    return replace(card, native_frames=max(card.native_frames, frames), positions=positions)


def _sliced_positions(pipe: Any) -> tuple[int, int]:
    """CogVideoX 1.5 slices its rotary table from one of the usual size, configured in latents."""
    rows, cols = (configured(pipe.transformer, name) for name in ("sample_height", "sample_width"))
    return rows * pipe.vae_scale_factor_spatial, cols * pipe.vae_scale_factor_spatial


def _animatediff(card: ModelCard, pipe: Any) -> ModelCard:
    """A motion module was trained on no more frames than it has positions."""
    return replace(card, native_frames=min(card.native_frames, card.longest(pipe) or card.native_frames))


_WAN = ModelCard(
    family="wan",
    title="Wan 2.1",
    pipeline="WanPipeline",
    layers=_DIT_LAYERS["wan"],
    blocks=("blocks",),
    volume=channels_first,
    positions=WAN_POSITIONS,
    native_frames=81,
    fps=16,
    stride_attribute="vae_scale_factor_temporal",
    components=("transformer", "transformer_2"),
    one_level=None,
    hub_ids=("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "Wan-AI/Wan2.1-T2V-14B-Diffusers"),
)

_COGVIDEOX = ModelCard(
    family="cogvideox",
    title="CogVideoX",
    pipeline="CogVideoXPipeline",
    read=_cogvideox,
    layers=_DIT_LAYERS["joint"],
    blocks=("transformer_blocks",),
    volume=frames_first,
    positions=COGVIDEOX_POSITIONS,
    native_frames=49,
    fps=8,
    stride_attribute="vae_scale_factor_temporal",
    text_first=True,
    batched_guidance=True,
    latent_frame_axis=1,
    frame_multiple=8,
    hub_ids=("THUDM/CogVideoX-2b", "THUDM/CogVideoX-5b"),
)

CARDS: tuple[ModelCard, ...] = (  # within one pipeline class, the most specific first
    replace(
        _WAN,
        family="tiny",
        title="the embedded model",
        mark=_is_embedded,
        native_frames=17,
        fps=8,
        published_stride=2,
        defaults={
            "num_frames": 17,
            "height": 64,
            "width": 64,
            "num_inference_steps": 20,
            "guidance_scale": 3.0,
            "max_sequence_length": 32,
        },
        hub_ids=("tiny",),
    ),
    replace(
        _WAN,
        family="wan2.2-5b",
        title="Wan 2.2 TI2V-5B",
        mark=_is_wan_5b,
        native_frames=121,
        fps=24,
        defaults={"num_frames": 121, "height": 704, "width": 1280},
        hub_ids=("Wan-AI/Wan2.2-TI2V-5B-Diffusers",),
    ),
    replace(
        _WAN,
        family="wan2.2",
        title="Wan 2.2",
        mark=_has_two_experts,
        one_level="each of its two experts knows only the high or only the low noise levels",
        hub_ids=("Wan-AI/Wan2.2-T2V-A14B-Diffusers",),
    ),
    _WAN,
    ModelCard(
        family="hunyuanvideo",
        title="HunyuanVideo",
        pipeline="HunyuanVideoPipeline",
        layers=_DIT_LAYERS["hunyuan"],
        blocks=("transformer_blocks", "single_transformer_blocks"),
        volume=channels_first,
        positions=HUNYUAN_POSITIONS,
        native_frames=129,
        fps=24,
        stride_attribute="vae_scale_factor_temporal",
        hub_ids=("hunyuanvideo-community/HunyuanVideo",),
    ),
    replace(
        _COGVIDEOX,
        family="cogvideox1.5",
        title="CogVideoX 1.5",
        mark=_has_time_patches,
        native_frames=81,
        fps=16,
        largest=_sliced_positions,
        hub_ids=("THUDM/CogVideoX1.5-5B",),
    ),
    _COGVIDEOX,
    ModelCard(
        family="ltx",
        title="LTX-Video",
        pipeline="LTXPipeline",
        layers=_DIT_LAYERS["ltx"],
        blocks=("transformer_blocks",),
        volume=packed,
        positions=LTX_POSITIONS,
        native_frames=161,
        fps=25,
        stride_attribute="vae_temporal_compression_ratio",
        size_attribute="vae_spatial_compression_ratio",
        published_stride=8,
        batched_guidance=True,
        latent_frame_axis=None,
        one_level=None,
        hub_ids=("Lightricks/LTX-Video",),
    ),
    ModelCard(
        family="mochi",
        title="Mochi 1",
        pipeline="MochiPipeline",
        layers=_DIT_LAYERS["joint"],
        blocks=("transformer_blocks",),
        volume=channels_first,
        positions=MOCHI_POSITIONS,
        native_frames=163,
        fps=30,
        stride_attribute="vae_temporal_scale_factor",
        size_attribute="vae_spatial_scale_factor",
        published_stride=6,
        batched_guidance=True,
        ascending_sigmas=True,
        hub_ids=("genmo/mochi-1-preview",),
    ),
    ModelCard(
        family="animatediff",
        title="AnimateDiff",
        pipeline="AnimateDiffPipeline",
        read=_animatediff,
        components=("unet",),
        layers={
            "temporal": r".*motion_modules\.\d+\.transformer_blocks\.\d+\.attn[12]",
            "spatial": r".*\battentions\.\d+\.transformer_blocks\.\d+\.attn1",
            "cross": r".*\battentions\.\d+\.transformer_blocks\.\d+\.attn2",
        },
        volume=unet,
        native_frames=16,
        fps=8,
        stride_attribute=None,
        size_attribute="vae_scale_factor",
        published_stride=1,
        batched_guidance=True,
        positions=ANIMATEDIFF_POSITIONS,
        longest=lambda pipe: configured(pipe.unet, "motion_max_seq_length"),
        hub_ids=("guoyww/animatediff-motion-adapter-v1-5-3",),
    ),
    ModelCard(
        family="text-to-video-sd",
        title="ModelScope and Zeroscope (TextToVideoSD)",
        pipeline="TextToVideoSDPipeline",
        components=("unet",),
        layers={
            "temporal": r"(.*\btemp_attentions\.\d+|transformer_in)\.transformer_blocks\.\d+\.attn[12]",
            "spatial": r".*\battentions\.\d+\.transformer_blocks\.\d+\.attn1",
            "cross": r".*\battentions\.\d+\.transformer_blocks\.\d+\.attn2",
        },
        volume=unet,
        native_frames=16,
        fps=8,
        stride_attribute=None,
        size_attribute="vae_scale_factor",
        published_stride=1,
        batched_guidance=True,
        positions=NO_POSITIONS,
        hub_ids=("ali-vilab/text-to-video-ms-1.7b", "cerspense/zeroscope_v2_576w"),
    ),
)


def card_of(pipe: Any) -> ModelCard:
    """Return the card of a diffusers pipeline, or of a subclass, updated from its configuration.

    Raises:
        LookupError: no card has this pipeline class; the message lists what a new card needs.
    """
    check_class(type(pipe))
    classes = _names(type(pipe))
    for card in CARDS:
        if card.pipeline in classes and card.mark(pipe):
            return card.read(card, pipe)
    raise _unknown(type(pipe))


def check_class(pipeline: type) -> None:
    """Refuse a pipeline class without a card, before a model is loaded.

    Raises:
        LookupError: see :func:`card_of`.
    """
    if not _names(pipeline) & {card.pipeline for card in CARDS}:
        raise _unknown(pipeline)


def _names(pipeline: type) -> set[str]:
    return {kind.__name__ for kind in pipeline.__mro__}


def _unknown(pipeline: type) -> LookupError:
    known = ", ".join(dict.fromkeys(card.pipeline for card in CARDS))
    return LookupError(
        f"{pipeline.__name__} is not a known family (known: {known}); to support it, add a ModelCard to "
        "attention/facts/cards.py with the names of its attention modules, its token order, its latent frame rate "
        "and its training length"
    )
