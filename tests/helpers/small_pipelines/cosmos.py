"""Cosmos 1, 2, 2.5 and 3: worlds from text, images, videos and control videos.

The models resize a mask by torchvision. Where it is not installed, as in our tests, a stand-in does the one resize and
the one conversion that they ask of it; everything else is stock diffusers.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils import is_torchvision_available
from families import TEXT
from family_parts import TEXT_WIDTH, t5, tokenizer, wan_vae

from small_pipelines.form import CLIP, TEXTS, Builder, SmallPipeline, small
from small_pipelines.parts import chat_tokenizer, film, image, qwen25_vl
from small_pipelines.wan import LATENTS, unipc

CALL = {**TEXTS, **CLIP, "guidance_scale": 5.0, "max_sequence_length": TEXT}
LONG = {**CALL, "num_frames": 33}
"""Cosmos 1 has stride 8 in time."""
SIZES: dict[str, Any] = {
    "in_channels": LATENTS,
    "out_channels": LATENTS,
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "num_layers": 2,
    "mlp_ratio": 2.0,
    "text_embed_dim": TEXT_WIDTH,
    "adaln_lora_dim": 4,
    "max_size": (32, 16, 16),
    "rope_scale": (2.0, 1.0, 1.0),
}
WITH_MASK = {"in_channels": LATENTS + 1}
"""Change for a model that is told which latent frames are given."""
PROJECTED = {
    "use_crossattn_projection": True,
    "crossattn_proj_in_channels": 2 * TEXT_WIDTH,
    "encoder_hidden_states_channels": TEXT_WIDTH,
}
"""Changes for 2.5, whose text is every layer of Qwen at once."""
IMAGE_CONTEXT = {"img_context_dim_in": 16, "img_context_dim_out": 48}


class AllowAll(ModelMixin, ConfigMixin):
    """Stand-in of the guardrail, a package and a download of its own: nothing is unsafe."""

    @register_to_config
    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))  # a model without parameters has no device

    def check_text_safety(self, prompt: str) -> bool:
        """Return True."""
        return True

    def check_video_safety(self, video: Any) -> Any:
        """Return the video as it is."""
        return video


def cosmos(build: Builder) -> Builder:
    """Return the builder of ``small``, which sees to it that torchvision's two functions are there."""

    def build_anywhere() -> diffusers.DiffusionPipeline:
        if not is_torchvision_available():
            _stand_in_for_torchvision()
        return small(build)()

    return build_anywhere


def _stand_in_for_torchvision() -> None:
    from diffusers.models.controlnets import controlnet_cosmos
    from diffusers.models.transformers import transformer_cosmos
    from diffusers.pipelines.cosmos import pipeline_cosmos2_5_predict as predict

    functional = SimpleNamespace(
        resize=lambda mask, size, interpolation: torch.nn.functional.interpolate(mask, size, mode=interpolation),
        to_tensor=lambda picture: torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255,
    )
    transforms = SimpleNamespace(functional=functional, InterpolationMode=SimpleNamespace(NEAREST="nearest"))
    for module in (controlnet_cosmos, transformer_cosmos):
        module.transforms = transforms
    predict.torchvision = SimpleNamespace(transforms=transforms)


def transformer(**changes: Any) -> diffusers.CosmosTransformer3DModel:
    """Return a random model of two blocks."""
    return diffusers.CosmosTransformer3DModel(**{**SIZES, **changes})


def _first(**changes: Any) -> dict[str, Any]:
    vae = diffusers.AutoencoderKLCosmos(
        latent_channels=LATENTS,
        encoder_block_out_channels=(8, 8, 8, 8),
        decode_block_out_channels=(8, 8, 8, 8),
        attention_resolutions=(8,),
        resolution=64,
        num_layers=1,
        latents_mean=None,
        latents_std=None,
    )
    solver = diffusers.EDMEulerScheduler(final_sigmas_type="sigma_min")
    return {**_text_parts(), "vae": vae, "scheduler": solver, "transformer": transformer(**changes)}


def _text_parts() -> dict[str, Any]:
    return {"text_encoder": t5(), "tokenizer": tokenizer(512), "safety_checker": AllowAll()}


def _qwen_parts() -> dict[str, Any]:
    parts = {"text_encoder": qwen25_vl(), "tokenizer": chat_tokenizer(512), "safety_checker": AllowAll()}
    return {**parts, "vae": wan_vae(), "scheduler": unipc()}


@cosmos
def text_to_world() -> diffusers.CosmosTextToWorldPipeline:
    """Build Cosmos 1 from text; learned positions are added to the rotary ones."""
    return diffusers.CosmosTextToWorldPipeline(**_first())


@cosmos
def video_to_world() -> diffusers.CosmosVideoToWorldPipeline:
    """Build Cosmos 1 that continues a video."""
    return diffusers.CosmosVideoToWorldPipeline(**_first(**WITH_MASK))


@cosmos
def video_to_world_2() -> diffusers.Cosmos2VideoToWorldPipeline:
    """Build Cosmos 2 that continues an image or a video."""
    solver = diffusers.FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True)
    model = transformer(**WITH_MASK, extra_pos_embed_type=None)
    parts = {**_text_parts(), "vae": wan_vae(), "scheduler": solver}
    return diffusers.Cosmos2VideoToWorldPipeline(**parts, transformer=model)


@cosmos
def predict_25() -> diffusers.Cosmos2_5_PredictBasePipeline:
    """Build Cosmos 2.5 Predict, for text, an image or a video."""
    model = transformer(**WITH_MASK, **PROJECTED, extra_pos_embed_type=None)
    return diffusers.Cosmos2_5_PredictBasePipeline(**_qwen_parts(), transformer=model)


@cosmos
def transfer_25() -> diffusers.Cosmos2_5_TransferPipeline:
    """Build Cosmos 2.5 Transfer: a control model adds to every block; a second cross attention sees images."""
    both = {**PROJECTED, **IMAGE_CONTEXT, "extra_pos_embed_type": None}
    model = transformer(**WITH_MASK, **both, controlnet_block_every_n=1, img_context_num_tokens=4)
    shared = {name: value for name, value in SIZES.items() if name not in ("in_channels", "out_channels", "num_layers")}
    channels = {"in_channels": LATENTS + 2, "latent_channels": LATENTS + 2, "model_channels": 48}
    control = diffusers.CosmosControlNetModel(n_controlnet_blocks=2, **channels, **shared, **both)
    return diffusers.Cosmos2_5_TransferPipeline(**_qwen_parts(), transformer=model, controlnet=control)


def _omni_transformer(**changes: Any) -> diffusers.Cosmos3OmniTransformer:
    sizes = {
        "head_dim": 24,
        "rope_axes_dim": (4, 4, 4),
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "num_hidden_layers": 2,
        "latent_channel": LATENTS,
        "patch_latent_dim": 4 * LATENTS,
        "vocab_size": 256,
    }
    return diffusers.Cosmos3OmniTransformer(**{**sizes, **changes})


def _omni(model: diffusers.Cosmos3OmniTransformer, **components: Any) -> diffusers.Cosmos3OmniPipeline:
    return diffusers.Cosmos3OmniPipeline(
        transformer=model,
        text_tokenizer=chat_tokenizer(512),
        vae=wan_vae(),
        scheduler=unipc(),
        enable_safety_checker=False,
        default_use_system_prompt=False,
        **components,
    )


@small
def omni() -> diffusers.Cosmos3OmniPipeline:
    """Build Cosmos 3: text and video through the same layers, text first and causal; two heads share keys."""
    return _omni(_omni_transformer())


@small
def omni_with_sound() -> diffusers.Cosmos3OmniPipeline:
    """Build Cosmos 3 with sound: further tokens behind the video's."""
    sound = diffusers.Cosmos3AVAEAudioTokenizer(
        sampling_rate=960, vocoder_input_dim=8, dec_dim=8, dec_c_mults=(1, 2), dec_strides=(4, 8), encoder_enabled=False
    )
    return _omni(_omni_transformer(sound_gen=True, sound_dim=8), sound_tokenizer=sound)


_OMNI = {name: value for name, value in CALL.items() if name != "max_sequence_length"}
_CHUNKS = {**CALL, "num_frames": 17, "num_frames_per_chunk": 17}

PIPELINES: dict[str, SmallPipeline] = {
    "CosmosTextToWorldPipeline": SmallPipeline(build=text_to_world, call=LONG, note="two solver calls a step"),
    "CosmosVideoToWorldPipeline": SmallPipeline(build=video_to_world, call=LONG, inputs={"video": film(9)}),
    "Cosmos2VideoToWorldPipeline": SmallPipeline(build=video_to_world_2, call=CALL, inputs={"image": image()}),
    "Cosmos2_5_PredictBasePipeline": SmallPipeline(build=predict_25, call=CALL),
    "Cosmos2_5_PredictBasePipeline-image": SmallPipeline(build=predict_25, call=CALL, inputs={"image": image()}),
    "Cosmos2_5_PredictBasePipeline-video": SmallPipeline(build=predict_25, call=CALL, inputs={"video": film(9)}),
    "Cosmos2_5_TransferPipeline": SmallPipeline(build=transfer_25, call=_CHUNKS, inputs={"controls": film(17)}),
    "Cosmos2_5_TransferPipeline-chunks": SmallPipeline(
        build=transfer_25, call={**_CHUNKS, "num_frames": 33}, inputs={"controls": film(33)}
    ),
    "Cosmos3OmniPipeline": SmallPipeline(build=omni, call=_OMNI, output="video"),
    "Cosmos3OmniPipeline-image": SmallPipeline(build=omni, call=_OMNI, inputs={"image": image()}, output="video"),
    "Cosmos3OmniPipeline-sound": SmallPipeline(
        build=omni_with_sound, call={**_OMNI, "enable_sound": True}, output="video"
    ),
}
