"""Cosmos and Kandinsky."""

from typing import Any

from released.release import DIFFUSERS, Released

COSMOS_SCRIPT = f"{DIFFUSERS}/scripts/convert_cosmos_to_diffusers.py"
KANDINSKY = "https://github.com/kandinskylab/kandinsky-5/tree/main/configs"
COSMOS: dict[str, Any] = {
    "in_channels": 17, "out_channels": 16, "num_attention_heads": 16, "attention_head_dim": 128, "num_layers": 28,
    "text_embed_dim": 1024, "adaln_lora_dim": 256, "max_size": (128, 240, 240), "patch_size": (1, 2, 2),
    "concat_padding_mask": True, "rope_scale": (1.0, 3.0, 3.0), "extra_pos_embed_type": None,
}  # fmt: skip
COSMOS_1: dict[str, Any] = COSMOS | {
    "num_attention_heads": 32, "rope_scale": (2.0, 1.0, 1.0), "extra_pos_embed_type": "learnable",
}  # fmt: skip
OF_COSMOS: dict[str, Any] = {
    "source": COSMOS_SCRIPT, "model": "CosmosTransformer3DModel", "strides": (4, 8), "clip": (93, 704, 1280),
    "fps": 16, "latents": (24, 88, 160), "tokens": 84_480, "layers": {"self": 28, "cross": 28}, "heads": 16,
}  # fmt: skip
OF_COSMOS_1: dict[str, Any] = OF_COSMOS | {
    "strides": (8, 8), "clip": (121, 704, 1280), "fps": 30, "latents": (16, 88, 160), "tokens": 56_320, "heads": 32,
}  # fmt: skip
LITE: dict[str, Any] = {
    "in_visual_dim": 16, "out_visual_dim": 16, "in_text_dim": 3584, "in_text_dim2": 768, "time_dim": 512,
    "model_dim": 1792, "ff_dim": 7168, "num_text_blocks": 2, "num_visual_blocks": 32, "axes_dims": (16, 24, 24),
    "visual_cond": True,
}  # fmt: skip
PRO: dict[str, Any] = LITE | {
    "time_dim": 1024, "model_dim": 4096, "ff_dim": 16384, "num_text_blocks": 4, "num_visual_blocks": 60,
    "axes_dims": (32, 48, 48),
}  # fmt: skip
NABLA: dict[str, Any] = {
    "attention_type": "nabla", "attention_wT": 11, "attention_wW": 3, "attention_wH": 3, "attention_add_sta": True,
    "attention_method": "topcdf",
}  # fmt: skip
OF_KANDINSKY: dict[str, Any] = {
    "source": KANDINSKY, "model": "Kandinsky5Transformer3DModel", "strides": (4, 8), "clip": (121, 512, 768), "fps": 24,
    "latents": (31, 64, 96), "tokens": 47_616, "layers": {"self": 32, "cross": 32}, "heads": 28, "billions": 2,
}  # fmt: skip
OF_PRO: dict[str, Any] = OF_KANDINSKY | {
    "clip": (121, 768, 1024), "latents": (31, 96, 128), "tokens": 95_232, "layers": {"cross": 60}, "heads": 32,
    "billions": 19,
}  # fmt: skip

COSMOS_25: dict[str, Any] = COSMOS | {
    "use_crossattn_projection": True, "crossattn_proj_in_channels": 100_352, "encoder_hidden_states_channels": 1024,
}  # fmt: skip
IMAGE: dict[str, Any] = {"img_context_dim_in": 1152, "img_context_dim_out": 2048}
CONTROL: dict[str, Any] = IMAGE | {
    "n_controlnet_blocks": 4, "model_channels": 2048, "in_channels": 130, "latent_channels": 18,
    "num_attention_heads": 16, "attention_head_dim": 128, "text_embed_dim": 1024, "adaln_lora_dim": 256,
    "patch_size": (1, 2, 2), "max_size": (128, 240, 240), "rope_scale": (1.0, 3.0, 3.0), "extra_pos_embed_type": None,
    "use_crossattn_projection": True, "crossattn_proj_in_channels": 100_352, "encoder_hidden_states_channels": 1024,
}  # fmt: skip

COSMOS_KANDINSKY = (
    Released(
        hub_ids=("nvidia/Cosmos-1.0-Diffusion-7B-Text2World",),
        family="cosmos1",
        pipeline="CosmosTextToWorldPipeline",
        config=COSMOS_1 | {"in_channels": 16},
        **OF_COSMOS_1,
        billions=7,
        within=0.04,
    ),
    Released(
        hub_ids=("nvidia/Cosmos-1.0-Diffusion-7B-Video2World",),
        family="cosmos1",
        pipeline="CosmosVideoToWorldPipeline",
        config=COSMOS_1,
        **OF_COSMOS_1,
        billions=7,
        within=0.04,
    ),
    Released(
        hub_ids=("nvidia/Cosmos-Predict2-2B-Video2World",),
        family="cosmos2",
        pipeline="Cosmos2VideoToWorldPipeline",
        config=COSMOS,
        **OF_COSMOS,
        billions=2,
    ),
    Released(
        hub_ids=("nvidia/Cosmos-Predict2.5-2B",),
        family="cosmos2.5",
        pipeline="Cosmos2_5_PredictBasePipeline",
        config=COSMOS_25,
        **OF_COSMOS,
        billions=2,
    ),
    Released(
        hub_ids=("kandinskylab/Kandinsky-5.0-T2V-Lite-sft-5s-Diffusers",),
        family="kandinsky5",
        pipeline="Kandinsky5T2VPipeline",
        config=LITE,
        **OF_KANDINSKY,
    ),
    Released(
        hub_ids=("kandinskylab/Kandinsky-5.0-T2V-Lite-sft-10s-Diffusers",),
        family="kandinsky5-10s",
        pipeline="Kandinsky5T2VPipeline",
        config=LITE | NABLA | {"attention_P": 0.9},
        **OF_KANDINSKY | {"clip": (241, 512, 768), "latents": (61, 64, 96), "tokens": 93_696, "layers": {"cross": 32}},
    ),
    Released(
        hub_ids=("kandinskylab/Kandinsky-5.0-T2V-Pro-sft-5s-Diffusers",),
        family="kandinsky5",
        pipeline="Kandinsky5T2VPipeline",
        config=PRO | NABLA | {"attention_P": 0.8},
        **OF_PRO,
    ),
    Released(
        hub_ids=("kandinskylab/Kandinsky-5.0-I2V-Pro-sft-5s-Diffusers",),
        family="kandinsky5",
        pipeline="Kandinsky5I2VPipeline",
        config=PRO | NABLA | {"attention_P": 0.8},
        **OF_PRO,
    ),
    Released(
        hub_ids=("nvidia/Cosmos-Transfer2.5-2B",),
        family="cosmos2.5-transfer",
        pipeline="Cosmos2_5_TransferPipeline",
        config=COSMOS_25 | IMAGE | {"controlnet_block_every_n": 7, "img_context_num_tokens": 256},
        controls={"controlnet": ("CosmosControlNetModel", CONTROL)},
        **OF_COSMOS | {"fps": 30},
    ),
    Released(
        hub_ids=("kandinskylab/Kandinsky-6.0-Pro-distill-5s-Diffusers",),
        source="https://huggingface.co/kandinskylab/Kandinsky-6.0-Pro-distill-5s-Diffusers, as a public test quotes it",
        family="kandinsky6",
        pipeline="Kandinsky6TI2VAPipeline",
        model="Kandinsky6Transformer3DModel",
        config={
            "out_visual_dim": 160,
            "in_audio_dim": 40,
            "out_audio_dim": 400,
            "model_dim_a": 2048,
            "time_dim_a": 1024,
            "ff_dim_a": 7168,
            "axes_dims_a": (32, 48, 48),
            "audio_freqs_scaling": 0.144,
            "text_token_padding": True,
            "ca_rope": True,
            "cross_gates": True,
            "fix_modulation": True,
            "visual_token_type_num_embeddings": 2,
        },
        strides=(4, 8),
        clip=(121, 512, 768),
        fps=24,
        latents=(31, 64, 96),
        tokens=47_616,
        layers={"joint": 60, "cross": 60},
        heads=32,
        billions=30.1,
        within=0.005,
    ),
)
