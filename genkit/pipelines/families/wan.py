"""Wan 2.1 and 2.2 from text, images and videos, Lucy Edit, and the embedded model, which is one of them."""

from dataclasses import replace
from typing import Any

from genkit.attention.facts.card import Card
from genkit.attention.facts.inputs import Input
from genkit.attention.facts.made import rounded
from genkit.attention.facts.model_facts import class_names
from genkit.attention.facts.volume import configured, plain_model
from genkit.pipelines.pipeline_facts import PipelineFacts, Published


def _is_embedded(pipe: Any) -> bool:
    """Only the embedded model has an autoencoder of this class, a single matrix."""
    return "PatchAutoencoder" in class_names(type(plain_model(getattr(pipe, "vae", None))))


def _is_5b(pipe: Any) -> bool:
    """Wan 2.2 TI2V-5B: 48 latent channels of 16 x 16 pixels, and a noise level for each token."""
    wide = configured(getattr(pipe, "transformer", None), "in_channels") == 48
    return wide or bool(configured(pipe, "expand_timesteps")) or getattr(pipe, "vae_scale_factor_spatial", 8) == 16


def _takes_two_images(pipe: Any) -> bool:
    """Only the model for a first and a last image has positions for the tokens of both."""
    return configured(getattr(pipe, "transformer", None), "pos_embed_seq_len") is not None


def _has_two_experts(pipe: Any) -> bool:
    return getattr(pipe, "transformer_2", None) is not None or configured(pipe, "boundary_ratio") is not None


def of_images(card: Card, pipe: Any) -> Card:
    """Return a card without prompts over time where a model reads an image: it cuts the text from the image's tokens at
    512, so that the texts of several events would be taken for the image."""
    reads = configured(card.model(pipe), "added_kv_proj_dim") is not None
    return replace(card, prompts=None, text_tokens=512) if reads else card


def of_checkpoint(card: Card, pipe: Any) -> Card:
    """Return the card of two experts where there are two: each knows the noise levels of its part of the schedule."""
    card = of_images(card, pipe)
    if not _has_two_experts(pipe):
        return card
    return replace(card, one_level="each of its two experts knows only the high or only the low noise levels")


TINY = Published(
    family="tiny",
    title="the embedded model",
    when=_is_embedded,
    native_frames=17,
    fps=8,
    stride=2,
    defaults={
        "num_frames": 17,
        "height": 64,
        "width": 64,
        "num_inference_steps": 20,
        "guidance_scale": 3.0,
        "max_sequence_length": 32,
    },
    hub_ids=("tiny",),
    licence="MIT",
)
TI2V_5B = Published(
    family="wan2.2-5b",
    title="Wan 2.2 TI2V-5B",
    when=_is_5b,
    native_frames=121,
    fps=24,
    defaults={"num_frames": 121, "height": 704, "width": 1280},
    hub_ids=("Wan-AI/Wan2.2-TI2V-5B-Diffusers",),
    parameters={"Wan-AI/Wan2.2-TI2V-5B-Diffusers": 5.0},
    licence="Apache-2.0",
)
T2V_22 = Published(
    family="wan2.2",
    title="Wan 2.2",
    when=_has_two_experts,
    native_frames=81,
    fps=16,
    hub_ids=("Wan-AI/Wan2.2-T2V-A14B-Diffusers",),
    parameters={"Wan-AI/Wan2.2-T2V-A14B-Diffusers": 28.58},
    licence="Apache-2.0",
)
T2V_21 = Published(
    family="wan",
    title="Wan 2.1",
    native_frames=81,
    fps=16,
    hub_ids=("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "Wan-AI/Wan2.1-T2V-14B-Diffusers"),
    parameters={"Wan-AI/Wan2.1-T2V-1.3B-Diffusers": 1.419, "Wan-AI/Wan2.1-T2V-14B-Diffusers": 14.29},
    licence="Apache-2.0",
)
FROM_IMAGES = (
    TI2V_5B,
    Published(
        family="wan2.2-i2v",
        title="Wan 2.2 I2V",
        when=_has_two_experts,
        native_frames=81,
        fps=16,
        hub_ids=("Wan-AI/Wan2.2-I2V-A14B-Diffusers",),
        parameters={"Wan-AI/Wan2.2-I2V-A14B-Diffusers": 28.58},
        licence="Apache-2.0",
    ),
    Published(
        family="wan-flf2v",
        title="Wan 2.1 FLF2V",
        when=_takes_two_images,
        native_frames=81,
        fps=16,
        hub_ids=("Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers",),
        parameters={"Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers": 16.4},
        licence="Apache-2.0",
    ),
    Published(
        family="wan-i2v",
        title="Wan 2.1 I2V",
        native_frames=81,
        fps=16,
        hub_ids=("Wan-AI/Wan2.1-I2V-14B-480P-Diffusers", "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers"),
        parameters={"Wan-AI/Wan2.1-I2V-14B-480P-Diffusers": 16.39, "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers": 16.39},
        licence="Apache-2.0",
    ),
)
LUCY = Published(
    family="lucy-edit",
    title="Lucy Edit",
    native_frames=81,
    fps=24,
    hub_ids=("decart-ai/Lucy-Edit-Dev",),
    licence="lucy-edit-dev-model-non-commercial-license",
    parameters={"decart-ai/Lucy-Edit-Dev": 5.0},
)

FAMILIES = (
    PipelineFacts(
        name="wan",
        models=("WanTransformer3DModel",),
        made_frames=rounded,
        prompts="pairs",
        read=of_checkpoint,
        published=(TINY, TI2V_5B, T2V_22, T2V_21),
    ),
    PipelineFacts(
        name="wan-i2v",
        models=("WanTransformer3DModel",),
        made_frames=rounded,
        needs=frozenset({"image"}),
        prompts="pairs",
        read=of_images,
        one_level="an image is one of the frames of its video",
        published=FROM_IMAGES,
    ),
    PipelineFacts(
        name="wan-v2v",
        models=("WanTransformer3DModel",),
        needs=frozenset({"video", "strength"}),
        branches="order",
        prompts="pairs",
        given="those contain the video that it changes",
        one_level="all frames of the video that was given are noised alike",
        published=(TINY, T2V_21),
    ),
    PipelineFacts(
        name="lucy-edit",
        models=("WanTransformer3DModel",),
        made_frames=rounded,
        needs=frozenset({"video", "num_frames"}),
        prompts="pairs",
        one_level="it changes each frame of the video that was given",
        takes={"video": Input(argument="video", form="video", whole=True, stepped=True, required=True)},
        published=(LUCY,),
    ),
)
