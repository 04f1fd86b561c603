"""``tiny-unet``: a small ``UNetMotionModel`` in the stock ``AnimateDiffPipeline``."""

from diffusers import AnimateDiffPipeline, DDIMScheduler, UNetMotionModel
from transformers import UMT5EncoderModel

from genkit.tiny.build import TinyConfig, build_tokenizer
from genkit.tiny.models.frames import FrameAutoencoder
from genkit.tiny.motions import UNET_FRAMES, World

TEXT_TOKENS = 20
"""Length to which the pipeline pads texts; the longest caption has fewer tokens."""


def build_unet(config: TinyConfig) -> UNetMotionModel:
    """Build a small UNet with temporal attention and random weights."""
    return UNetMotionModel(
        sample_size=8,
        in_channels=config.latent_channels,
        out_channels=config.latent_channels,
        down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
        up_block_types=("UpBlockMotion", "CrossAttnUpBlockMotion"),
        block_out_channels=(64, 96),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=config.text_width,
        num_attention_heads=2,
        motion_num_attention_heads=2,
        motion_max_seq_length=2 * UNET_FRAMES,
        use_linear_projection=True,
    )


def build_ddim() -> DDIMScheduler:
    """Build the solver: velocities, the linear schedule of AnimateDiff, pure noise at its begin."""
    return DDIMScheduler(
        beta_schedule="linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
    )


def assemble_unet_pipeline(
    vae: FrameAutoencoder, text_encoder: UMT5EncoderModel, unet: UNetMotionModel, world: World
) -> AnimateDiffPipeline:
    """Return the stock ``AnimateDiffPipeline`` made of these parts."""
    tokenizer = build_tokenizer(world)
    tokenizer.model_max_length = TEXT_TOKENS
    text_encoder.config.use_attention_mask = True  # the pipeline passes the mask only if this says so
    return AnimateDiffPipeline(
        vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, motion_adapter=None, scheduler=build_ddim()
    )
