"""The seven networks of VBench's dimensions: names, files and where they are published.

Source: ``vbench/utils.py`` of vbench 0.1.5, which fetches the same files.
"""

from genkit.benchmarks.networks.weight_files import Backbone

TORCHVISION = ("torchvision", "torchvision")
VBENCH = ("vbench", "--no-deps vbench==0.1.5 (for its class of the network; its dependencies are not needed)")
PYIQA = ("pyiqa", "pyiqa (its licence allows non-commercial use only)")

_ALL = (
    Backbone(
        key="dino-vitb16",
        file="dino_vitbase16_pretrain.pth",
        url="https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth",
        build="genkit.benchmarks.networks.vit:dino",
        hub=(("facebook/dino-vitb16", "model.safetensors"), ("facebook/dino-vitb16", "pytorch_model.bin")),
        caches=(
            ("torch", "checkpoints/dino_vitbase16_pretrain.pth"),
            ("vbench", "dino_model/dino_vitbase16_pretrain.pth"),
        ),
    ),
    Backbone(
        key="clip-vitb32",
        file="ViT-B-32.pt",
        url="https://openaipublic.azureedge.net/clip/models/"
        "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt",
        sha256="40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        build="genkit.benchmarks.networks.vit:clip_image_tower",
        hub=(
            ("openai/clip-vit-base-patch32", "model.safetensors"),
            ("openai/clip-vit-base-patch32", "pytorch_model.bin"),
        ),
        caches=(("clip", "ViT-B-32.pt"), ("vbench", "clip_model/ViT-B-32.pt")),
    ),
    Backbone(
        key="clip-vitl14",
        file="ViT-L-14.pt",
        url="https://openaipublic.azureedge.net/clip/models/"
        "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836/ViT-L-14.pt",
        sha256="b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
        build="genkit.benchmarks.networks.vit:clip_image_tower_large",
        hub=(
            ("openai/clip-vit-large-patch14", "model.safetensors"),
            ("openai/clip-vit-large-patch14", "pytorch_model.bin"),
        ),
        caches=(("clip", "ViT-L-14.pt"), ("vbench", "clip_model/ViT-L-14.pt")),
    ),
    Backbone(
        key="aesthetic-head",
        file="sa_0_4_vit_l_14_linear.pth",
        url="https://github.com/LAION-AI/aesthetic-predictor/blob/main/sa_0_4_vit_l_14_linear.pth",
        build="genkit.benchmarks.networks.borrowed:aesthetic_head",
        caches=(("vbench", "aesthetic_model/emb_reader/sa_0_4_vit_l_14_linear.pth"),),
    ),
    Backbone(
        key="amt-s",
        file="amt-s.pth",
        url="https://huggingface.co/lalala125/AMT/resolve/main/amt-s.pth",
        build="genkit.benchmarks.networks.borrowed:amt",
        hub=(("lalala125/AMT", "amt-s.pth"),),
        caches=(("vbench", "amt_model/amt-s.pth"),),
        packages=(VBENCH,),
    ),
    Backbone(
        key="raft-things",
        file="raft-things.pth",
        url="https://dl.dropboxusercontent.com/s/4j4z58wuv8o0mfz/models.zip (inside models/)",
        build="genkit.benchmarks.networks.raft:raft",
        caches=(
            ("vbench", "raft_model/models/raft-things.pth"),
            ("torch", "checkpoints/raft_large_C_T_V1-22a6c225.pth"),
        ),
        packages=(TORCHVISION,),
    ),
    Backbone(
        key="musiq-spaq",
        file="musiq_spaq_ckpt-358bb6af.pth",
        url="https://github.com/chaofengc/IQA-PyTorch/releases/download/v0.1-weights/musiq_spaq_ckpt-358bb6af.pth",
        sha256="358bb6af",
        build="genkit.benchmarks.networks.borrowed:musiq",
        caches=(
            ("torch", "pyiqa/musiq_spaq_ckpt-358bb6af.pth"),
            ("vbench", "pyiqa_model/musiq_spaq_ckpt-358bb6af.pth"),
        ),
        packages=(PYIQA, TORCHVISION),
    ),
)
BACKBONES = {backbone.key: backbone for backbone in _ALL}
"""Networks by key."""
