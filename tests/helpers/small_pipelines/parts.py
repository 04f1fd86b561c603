"""Small random parts that several pipelines share: encoders of text and images, and what a user brings.

Parts that the eight families of ``families`` need as well are in ``family_parts``.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from family_parts import TEXT_WIDTH, VOCABULARY, tokenizer
from PIL import Image
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
)

TEMPLATE = "{% for message in messages %}{{ message['role'] }} {% if message['content'] is string %}"
TEMPLATE += "{{ message['content'] }} {% else %}{% for part in message['content'] %}{{ part.get('text', '') }} "
TEMPLATE += "{% endfor %}{% endif %}{% endfor %}"
"""Role and text of every message, one after the other."""
IMAGE_SIDE = 32
"""Height and width that image encoders here take, in pixels; patches have half of it."""


def chat_tokenizer(length: int, **options: Any) -> PreTrainedTokenizerFast:
    """Return the tokenizer of ``family_parts`` with a chat template; roles are single words."""
    words: Iterable[str] = (*options.pop("more_words", ()), "user", "assistant", "system")
    made = tokenizer(length, more_words=words, **options)
    made.chat_template = TEMPLATE
    return made


def _clip_vision(projection: int = TEXT_WIDTH) -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=TEXT_WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=IMAGE_SIDE,
        patch_size=IMAGE_SIDE // 2,
        projection_dim=projection,
    )


def clip_vision() -> CLIPVisionModel:
    """Return the image encoder of Wan: 4 patches and a class token, ``TEXT_WIDTH`` channels."""
    return CLIPVisionModel(_clip_vision()).eval()


def clip_vision_projected(projection: int = TEXT_WIDTH) -> CLIPVisionModelWithProjection:
    """Return the image encoder of SkyReels-V2, SVD and I2VGenXL."""
    return CLIPVisionModelWithProjection(_clip_vision(projection)).eval()


def clip_images() -> CLIPImageProcessor:
    """Return the processor that makes images as large as the CLIP encoders here take them."""
    side = {"height": IMAGE_SIDE, "width": IMAGE_SIDE}
    return CLIPImageProcessor(size={"shortest_edge": IMAGE_SIDE}, crop_size=side)


def siglip_vision() -> SiglipVisionModel:
    """Return the image encoder of FramePack, HunyuanVideo 1.5 and Motif: 4 patches."""
    config = SiglipVisionConfig(
        hidden_size=TEXT_WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=IMAGE_SIDE,
        patch_size=IMAGE_SIDE // 2,
    )
    return SiglipVisionModel(config).eval()


def siglip_images() -> SiglipImageProcessor:
    """Return the processor that belongs to ``siglip_vision``."""
    return SiglipImageProcessor(size={"height": IMAGE_SIDE, "width": IMAGE_SIDE})


def gemma2() -> Gemma2Model:
    """Return the text encoder of Sana."""
    config = Gemma2Config(
        vocab_size=VOCABULARY,
        hidden_size=TEXT_WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    return Gemma2Model(config).eval()


def gemma3() -> Gemma3ForConditionalGeneration:
    """Return the text encoder of LTX-2: embeddings and two layers, so three hidden states."""
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
    }
    vision = {
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": IMAGE_SIDE,
        "patch_size": IMAGE_SIDE // 2,
    }
    tokens = {"boi_token_index": 253, "eoi_token_index": 254, "image_token_index": 255, "mm_tokens_per_image": 4}
    return Gemma3ForConditionalGeneration(Gemma3Config(text_config=text, vision_config=vision, **tokens)).eval()


def qwen25_vl(layers: int = 2) -> Qwen2_5_VLForConditionalGeneration:
    """Return the text encoder of Cosmos 2.5, HunyuanVideo 1.5 and Kandinsky 5; its vision tower is one layer."""
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "rope_parameters": {"mrope_section": [2, 3, 3], "rope_theta": 10000.0, "rope_type": "default"},
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 1,
    }
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": TEXT_WIDTH}
    tokens = {"image_token_id": 255, "video_token_id": 254, "vision_start_token_id": 253, "vision_end_token_id": 252}
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(text_config=text, vision_config={**vision, "fullatt_block_indexes": [0]}, **tokens)
    ).eval()


def picture(width: int, height: int, shift: int = 0) -> Image.Image:
    """Return a smooth picture, moved to the right by ``shift`` pixels; no two rows or columns are equal."""
    rows, cols = np.mgrid[0:height, 0:width]
    place = (cols - shift) / width
    red, green = 127.5 * (1 + np.sin(6 * place)), 255 * rows / max(height - 1, 1)
    return Image.fromarray(np.stack([red, green, 255 - red], axis=-1).astype(np.uint8))


def image(width: int = 64, height: int = 48, shift: int = 0) -> Callable[[], Image.Image]:
    """Return a function that makes one picture, for ``SmallPipeline.inputs``."""
    return lambda: picture(width, height, shift)


def film(frames: int, width: int = 64, height: int = 48) -> Callable[[], list[Image.Image]]:
    """Return a function that makes a video of PIL images that moves by two pixels a frame."""
    return lambda: [picture(width, height, 2 * frame) for frame in range(frames)]


def mask_film(frames: int, width: int = 64, height: int = 48) -> Callable[[], list[Image.Image]]:
    """Return a function that makes a video of masks: the right half is white, to be made new."""
    half = np.zeros((height, width), np.uint8)
    half[:, width // 2 :] = 255
    return lambda: [Image.fromarray(half).convert("L") for _ in range(frames)]
