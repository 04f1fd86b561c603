"""What must be known of each model family and cannot be read from its configuration. A new family is one card."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from genkit.attention.call import Kind

Arguments = dict[str, Any]
Volume = tuple[int, int, int]
"""Frames, rows and columns of tokens (of the finest level, in a UNet)."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """One family of video models."""

    family: str
    """Short name."""
    title: str
    """Name that people use, with versions."""
    pipeline: str
    """Class name of the diffusers pipeline."""
    layers: dict[Kind, str]
    """Regular expressions that match the full names of the attention modules of each kind."""
    volume: Callable[[nn.Module, Arguments], Volume]
    """Reads the token volume from a forward call of the model."""
    native_frames: int
    """Pixel frames of the clips that the model was trained on."""
    fps: float
    """Pixel frames a second of those clips."""
    stride_attribute: str | None
    """Pipeline attribute with the pixel frames of a latent frame; None: each pixel frame is a latent one."""
    published_stride: int = 4
    """What ``stride`` is in the checkpoints of ``hub_ids``: for what must be known before a model is opened."""
    blocks: tuple[str, ...] = ()
    """Lists of a model's blocks, in the order in which they run; empty: tokens are not the same sequence throughout."""
    components: tuple[str, ...] = ("transformer",)
    """Pipeline components that are hooked, where present."""
    text_first: bool = False
    """Whether text tokens stand before the video tokens in joint attention."""
    batched_guidance: bool = False
    """True: one forward holds ``[uncond, cond]``; False: one forward for each."""
    latent_frame_axis: int | None = 2
    """Axis of the frames in the initial latents; None: tokens packed frame by frame in axis 1."""
    ascending_sigmas: bool = False
    """Whether the scheduler's sigmas rise from 0 to 1 as the noise falls."""
    frame_multiple: int | None = None
    """Legal lengths are this times k plus 1, where that is more than the latent frame rate; None: the rate itself."""
    rope: str = "rotary"
    """How time enters attention: ``rotary``, ``learned``, ``absolute``, or ``none`` (convolutions carry it)."""
    hub_ids: tuple[str, ...] = ()
    """Checkpoints known to be of this family."""
    defaults: Arguments = field(default_factory=dict)
    """Arguments that this model needs when the caller does not say otherwise."""
    longest: Callable[[Any], int | None] = lambda pipe: None
    """Reads the largest number of pixel frames that the pipeline can make; None: no limit."""

    def kind_of(self, module_name: str) -> Kind | None:
        """The kind of an attention module, by its full name inside the model; None if it is none of ours."""
        return next((kind for kind, pattern in self.layers.items() if re.fullmatch(pattern, module_name)), None)

    def frame_step(self, pipe: Any) -> int:
        """Legal lengths in pixel frames are this times k plus 1."""
        return self.frame_multiple or self.stride(pipe)

    def stride(self, pipe: Any) -> int:
        """Pixel frames of a latent frame."""
        return int(getattr(pipe, self.stride_attribute)) if self.stride_attribute else 1


def _video(module: Any, arguments: Arguments) -> Volume:
    """``hidden_states [B, C, F, H, W]`` and a patch size in the configuration."""
    *_, frames, height, width = arguments["hidden_states"].shape
    patch = module.config.patch_size
    time, down, right = patch if isinstance(patch, (tuple, list)) else (_time_patch(module), patch, patch)
    return frames // time, height // down, width // right


def _time_patch(module: nn.Module) -> int:
    return getattr(module.config, "patch_size_t", None) or 1


def _frames_first(module: Any, arguments: Arguments) -> Volume:
    """CogVideoX: ``hidden_states [B, F, C, H, W]``."""
    _, frames, _, height, width = arguments["hidden_states"].shape
    patch = module.config.patch_size
    return frames // _time_patch(module), height // patch, width // patch


def _packed(module: Any, arguments: Arguments) -> Volume:
    """LTX: tokens are packed already; the latent volume comes beside them."""
    time, patch = _time_patch(module), module.config.patch_size
    return arguments["num_frames"] // time, arguments["height"] // patch, arguments["width"] // patch


def _unet(module: nn.Module, arguments: Arguments) -> Volume:
    """UNets: ``sample [B, C, F, H, W]``; deeper levels are found from each call's own token count."""
    sample: Tensor = arguments["sample"]
    return sample.shape[2], sample.shape[3], sample.shape[4]


_DIT_LAYERS: dict[str, dict[Kind, str]] = {
    "wan": {"self": r"blocks\.\d+\.attn1", "cross": r"blocks\.\d+\.attn2"},
    "hunyuan": {"joint": r"(single_)?transformer_blocks\.\d+\.attn"},
    "joint": {"joint": r"transformer_blocks\.\d+\.attn1"},
    "ltx": {"self": r"transformer_blocks\.\d+\.attn1", "cross": r"transformer_blocks\.\d+\.attn2"},
}

_WAN = ModelCard(
    family="wan",
    title="Wan 2.1",
    pipeline="WanPipeline",
    layers=_DIT_LAYERS["wan"],
    blocks=("blocks",),
    volume=_video,
    native_frames=81,
    fps=16,
    stride_attribute="vae_scale_factor_temporal",
    components=("transformer", "transformer_2"),
    hub_ids=("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "Wan-AI/Wan2.1-T2V-14B-Diffusers"),
)

CARDS: tuple[ModelCard, ...] = (
    replace(
        _WAN,
        family="tiny",
        title="the embedded model",
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
    _WAN,
    replace(
        _WAN,
        family="wan2.2",
        title="Wan 2.2",
        hub_ids=("Wan-AI/Wan2.2-T2V-A14B-Diffusers", "Wan-AI/Wan2.2-TI2V-5B-Diffusers"),
    ),
    ModelCard(
        family="hunyuanvideo",
        title="HunyuanVideo",
        pipeline="HunyuanVideoPipeline",
        layers=_DIT_LAYERS["hunyuan"],
        blocks=("transformer_blocks", "single_transformer_blocks"),
        volume=_video,
        native_frames=129,
        fps=24,
        stride_attribute="vae_scale_factor_temporal",
        hub_ids=("hunyuanvideo-community/HunyuanVideo",),
    ),
    ModelCard(
        family="cogvideox",
        title="CogVideoX",
        pipeline="CogVideoXPipeline",
        layers=_DIT_LAYERS["joint"],
        blocks=("transformer_blocks",),
        volume=_frames_first,
        native_frames=49,
        fps=8,
        stride_attribute="vae_scale_factor_temporal",
        text_first=True,
        batched_guidance=True,
        latent_frame_axis=1,
        frame_multiple=8,
        hub_ids=("THUDM/CogVideoX-2b", "THUDM/CogVideoX-5b"),
    ),
    ModelCard(
        family="ltx",
        title="LTX-Video",
        pipeline="LTXPipeline",
        layers=_DIT_LAYERS["ltx"],
        blocks=("transformer_blocks",),
        volume=_packed,
        native_frames=121,
        fps=25,
        stride_attribute="vae_temporal_compression_ratio",
        published_stride=8,
        batched_guidance=True,
        latent_frame_axis=None,
        hub_ids=("Lightricks/LTX-Video",),
    ),
    ModelCard(
        family="mochi",
        title="Mochi 1",
        pipeline="MochiPipeline",
        layers=_DIT_LAYERS["joint"],
        blocks=("transformer_blocks",),
        volume=_video,
        native_frames=163,
        fps=30,
        stride_attribute="vae_temporal_scale_factor",
        published_stride=6,
        batched_guidance=True,
        ascending_sigmas=True,
        rope="learned",
        hub_ids=("genmo/mochi-1-preview",),
    ),
    ModelCard(
        family="animatediff",
        title="AnimateDiff",
        pipeline="AnimateDiffPipeline",
        components=("unet",),
        layers={
            "temporal": r".*motion_modules\.\d+\.transformer_blocks\.\d+\.attn[12]",
            "spatial": r".*\battentions\.\d+\.transformer_blocks\.\d+\.attn1",
            "cross": r".*\battentions\.\d+\.transformer_blocks\.\d+\.attn2",
        },
        volume=_unet,
        native_frames=16,
        fps=8,
        stride_attribute=None,
        published_stride=1,
        batched_guidance=True,
        rope="absolute",
        longest=lambda pipe: getattr(pipe.unet.config, "motion_max_seq_length", None),
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
        volume=_unet,
        native_frames=16,
        fps=8,
        stride_attribute=None,
        published_stride=1,
        batched_guidance=True,
        rope="none",
        hub_ids=("ali-vilab/text-to-video-ms-1.7b", "cerspense/zeroscope_v2_576w"),
    ),
)


def card_of(pipe: Any) -> ModelCard:
    """The card of a diffusers pipeline.

    Raises:
        LookupError: no card has this pipeline class; the sentence says what a new card needs.
    """
    name = type(pipe).__name__
    found = {card.family: card for card in CARDS if card.pipeline == name}
    if not found:
        known = ", ".join(dict.fromkeys(card.pipeline for card in CARDS))
        raise LookupError(
            f"{name} is of no known family (known: {known}); to support it, add a ModelCard to attention/cards.py with "
            "the names of its attention modules, its token order, its latent frame rate and its training length"
        )
    if type(getattr(pipe, "vae", None)).__name__ == "PatchAutoencoder":
        return found["tiny"]
    if getattr(pipe, "transformer_2", None) is not None:
        return found["wan2.2"]
    return found.get("wan") or next(iter(found.values()))
