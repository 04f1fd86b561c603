"""Mochi, Cosmos, Kandinsky 5, Motif, Helios, Allegro, EasyAnimate and SANA-Video."""

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

OTHERS = (
    Released(
        hub_ids=("genmo/mochi-1-preview",),
        source=f"{DIFFUSERS}/scripts/convert_mochi_to_diffusers.py",
        family="mochi",
        pipeline="MochiPipeline",
        model="MochiTransformer3DModel",
        strides=(6, 8),
        clip=(163, 480, 848),
        fps=30,
        latents=(28, 60, 106),
        tokens=44_520,
        layers={"joint": 48},
        heads=24,
        billions=10,
    ),
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
        config=COSMOS
        | {
            "use_crossattn_projection": True,
            "crossattn_proj_in_channels": 100_352,
            "encoder_hidden_states_channels": 1024,
        },
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
        hub_ids=("Motif-Technologies/Motif-Video-2B",),
        source="https://github.com/MotifTechnologies/ComfyUI-MotifVideo2B/tree/main/tests",
        family="motif",
        pipeline="MotifVideoPipeline",
        model="MotifVideoTransformer3DModel",
        config={
            "in_channels": 33,
            "num_attention_heads": 12,
            "num_layers": 12,
            "num_single_layers": 24,
            "num_decoder_layers": 8,
            "text_embed_dim": 2560,
            "enable_text_cross_attention_single": True,
        },
        complete=False,
        strides=(4, 8),
        clip=(121, 736, 1280),
        fps=24,
        latents=(31, 92, 160),
        tokens=114_080,
        layers={"joint": 28},
        heads=12,
    ),
    Released(
        hub_ids=("BestWishYsh/Helios-Base",),
        source="https://github.com/PKU-YuanGroup/Helios/tree/main/helios/diffusers_version",
        family="helios",
        pipeline="HeliosPipeline",
        model="HeliosTransformer3DModel",
        strides=(4, 8),
        clip=(33, 384, 640),
        fps=24,
        latents=(9, 48, 80),
        tokens=8_640,
        layers={"joint": 40, "cross": 40},
        heads=40,
        billions=14,
    ),
    Released(
        hub_ids=("rhymes-ai/Allegro",),
        source="https://huggingface.co/rhymes-ai/Allegro/blob/main/transformer/config.json, as a public copy quotes it",
        family="allegro",
        pipeline="AllegroPipeline",
        model="AllegroTransformer3DModel",
        config={"num_attention_heads": 24, "attention_head_dim": 96, "num_layers": 32, "cross_attention_dim": 2304},
        strides=(4, 8),
        clip=(88, 720, 1280),
        fps=15,
        latents=(22, 90, 160),
        tokens=79_200,
        layers={"self": 32, "cross": 32},
        heads=24,
        billions=2.8,
    ),
    Released(
        hub_ids=("alibaba-pai/EasyAnimateV5.1-12b-zh-diffusers",),
        source="https://github.com/aigc-apps/EasyAnimate, and the parameters on the hub",
        family="easyanimate",
        pipeline="EasyAnimatePipeline",
        model="EasyAnimateTransformer3DModel",
        config={
            "in_channels": 16,
            "out_channels": 16,
            "patch_size": 2,
            "num_layers": 48,
            "add_norm_text_encoder": True,
        },
        strides=(4, 8),
        clip=(49, 512, 512),
        fps=8,
        latents=(13, 64, 64),
        tokens=13_312,
        layers={"joint": 48},
        heads=48,
        billions=11.799,
        within=0.001,
    ),
    Released(
        hub_ids=("Efficient-Large-Model/SANA-Video_2B_480p_diffusers",),
        source=f"{DIFFUSERS}/scripts/convert_sana_video_to_diffusers.py",
        family="sana-video",
        pipeline="SanaVideoPipeline",
        model="SanaVideoTransformer3DModel",
        config={"num_layers": 20, "num_attention_heads": 20, "attention_head_dim": 112, "mlp_ratio": 3.0},
        strides=(4, 8),
        clip=(81, 480, 832),
        fps=16,
        latents=(21, 60, 104),
        tokens=32_760,
        layers={"cross": 20},
        heads=20,
        billions=2,
        within=0.03,
    ),
)
