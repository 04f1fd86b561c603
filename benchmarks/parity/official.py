"""The official half of `make parity`: VBench 0.1.5 itself on a CPU, with random weights from disk.

It runs in the second environment and imports nothing of genkit. No function of VBench is replaced: every weight file
is written in the format of the original checkpoint and passed by its path, DINO through torch.hub's own
``source="local"``. One method is recorded, because the dynamic degree does not return its flow speeds.

To save minutes DINO is its ViT-S/16, which differs from VBench's ViT-B/16 only in width, and CLIP's image tower has 4
of its 12 layers; AMT-S and RAFT are complete.
"""

import importlib.util
import json
import platform
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import torch

SEED = 20
DINO, CLIP, AMT, RAFT = "dino.pth", "clip.pt", "amt-s.pth", "raft-things.pth"
"""Names of the weight files, used by both sides."""
PACKAGES = ("vbench", "torch", "torchvision", "numpy", "opencv-python-headless", "decord", "openai-clip", "dreamsim")

HUB = """
import importlib.util
import torch


def dino_vits16(path, code, **ignored):
    spec = importlib.util.spec_from_file_location("dino_vision_transformer", code)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.vit_small(patch_size=16, num_classes=0)
    model.load_state_dict(torch.load(path, weights_only=True), strict=True)
    return model.eval()
"""
"""A torch.hub folder: the entry of the DINO repository, with the weights from a path instead of the network."""


def main(work: Path) -> None:
    """Read ``clips`` and ``inputs.pt`` in ``work``; write ``weights``, ``outputs.pt`` and ``official.json``."""
    _declare_operators()
    weights = work / "weights"
    weights.mkdir(exist_ok=True)
    write_weights(weights)
    functions = _module(Path(__file__).with_name("official_functions.py"))
    torch.save(
        functions.outputs(torch.load(work / "inputs.pt", weights_only=True), _module(_dino_code())), work / "outputs.pt"
    )
    result = {
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "device": "cpu",
        "dimensions": measure(work / "clips", weights),
    }
    if "genkit" in sys.modules:
        raise RuntimeError("the official side has imported genkit; the comparison would prove nothing")
    (work / "official.json").write_text(json.dumps(result, indent=1))


def _declare_operators() -> None:
    """Make a torchvision importable whose compiled part is for another build of torch; its operators are not called.

    The package index's torchvision is compiled for CUDA, beside a CPU build of torch.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        globals()["_operators"] = library  # the declarations disappear with this object


def write_weights(folder: Path) -> None:
    """Write random weights of the four networks, each in its authors' published format."""
    from easydict import EasyDict
    from vbench.third_party.amt.utils.build_utils import build_from_cfg
    from vbench.third_party.RAFT.core.raft import RAFT as RaftNetwork

    dino = _module(_dino_code()).vit_small(patch_size=16, num_classes=0)
    torch.save(_randomise(dino, 0, {"blocks.": 1.5, "pos_embed": 0.3}).state_dict(), folder / DINO)
    torch.jit.save(_clip_archive(), folder / CLIP)
    config = {"name": "networks.AMT-S.Model", "params": {"corr_radius": 3, "corr_lvls": 4, "num_flows": 3}}
    torch.save({"state_dict": _randomise(build_from_cfg(config), 2, {"": 0.5}).state_dict()}, folder / AMT)
    raft = RaftNetwork(EasyDict(small=False, mixed_precision=False, alternate_corr=False))
    state = _randomise(raft, 3, {"flow_head.conv2.": 0.02}).state_dict()
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, folder / RAFT)


def _randomise(network: torch.nn.Module, stream: int, gains: dict[str, float]) -> torch.nn.Module:
    """Fill the parameters in place so that each one matters and no result saturates.

    Weights are divided by the root of their number of inputs, factors of norms are about 1, tables of positions and
    tokens have standard deviation 1; parameters with a word of ``gains`` in their name are multiplied by it, except
    such factors.
    """
    generator = torch.Generator().manual_seed(SEED + stream)
    for name, parameter in network.named_parameters():
        value = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim < 2:
            value *= 0.1
        elif not any(word in name for word in ("pos_embed", "positional", "token")):
            value *= parameter[0].numel() ** -0.5
        if parameter.ndim == 1 and name.endswith("weight"):
            value += 1
        else:
            value *= next((gain for word, gain in gains.items() if word in name), 1.0)
        parameter.data.copy_(value)
    return network.eval()


def _clip_archive() -> Any:
    """Return a CLIP ViT-B/32 with a small text tower, as OpenAI's half-precision TorchScript archive."""
    from clip.model import CLIP as ClipNetwork
    from clip.model import convert_weights

    text = {"context_length": 8, "vocab_size": 64, "transformer_width": 64, "transformer_heads": 1}
    vision = {"image_resolution": 224, "vision_layers": 4, "vision_width": 768, "vision_patch_size": 32}
    network = _randomise(ClipNetwork(embed_dim=512, **vision, **text, transformer_layers=1), 1, {"resblocks.": 1.5})
    convert_weights(network)
    example = torch.zeros(1, 3, 224, 224), torch.zeros(1, 8, dtype=torch.long)
    with torch.no_grad():
        return torch.jit.trace(network, example, check_trace=False)


def _dino_code() -> Path:
    """Return the path of DINO's own vision_transformer.py, which the package dreamsim contains.

    Compared with facebookresearch/dino at 7c446df: they differ in white space, in the order of definitions, in a
    copyright note and in the initialisation of weights, which are overwritten here.
    """
    return Path(str(distribution("dreamsim").locate_file("dreamsim/feature_extraction/vision_transformer.py")))


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(clips: Path, weights: Path) -> dict[str, Any]:
    """Run every official ``compute_*`` function: aggregate, value by clip, and curves."""
    import vbench
    from vbench.background_consistency import compute_background_consistency
    from vbench.dynamic_degree import compute_dynamic_degree
    from vbench.motion_smoothness import compute_motion_smoothness
    from vbench.subject_consistency import compute_subject_consistency
    from vbench.temporal_flickering import compute_temporal_flickering

    hub = weights / "hub"
    hub.mkdir(exist_ok=True)
    (hub / "hubconf.py").write_text(HUB)
    dino = {"repo_or_dir": str(hub), "source": "local", "model": "dino_vits16", "read_frame": False}
    amt = Path(vbench.__file__).parent / "third_party/amt/cfgs/AMT-S.yaml"
    jobs: dict[str, tuple[Callable[..., Any], Any]] = {
        "temporal_flickering": (compute_temporal_flickering, []),
        "subject_consistency": (
            compute_subject_consistency,
            dino | {"path": str(weights / DINO), "code": str(_dino_code())},
        ),
        "background_consistency": (compute_background_consistency, [str(weights / CLIP), False]),
        "motion_smoothness": (compute_motion_smoothness, {"config": str(amt), "ckpt": str(weights / AMT)}),
        "dynamic_degree": (compute_dynamic_degree, {"model": str(weights / RAFT)}),
    }
    info = weights / "info.json"
    videos = sorted(str(path) for path in clips.glob("*.mp4"))
    info.write_text(json.dumps([{"prompt_en": "", "dimension": list(jobs), "video_list": videos}]))
    with _speeds() as speeds:
        found = {name: _time(function, info, given) for name, (function, given) in jobs.items()}
    found["dynamic_degree"]["curves"] = dict(zip(map(_name, videos), speeds, strict=True))
    return found


def _time(function: Callable[..., Any], info: Path, given: Any) -> dict[str, Any]:
    start = time.perf_counter()
    aggregate, videos = function(str(info), torch.device("cpu"), given)
    values = {_name(video["video_path"]): video["video_results"] for video in videos}
    return {"aggregate": float(aggregate), "videos": values, "seconds": round(time.perf_counter() - start, 2)}


def _name(path: str) -> str:
    return Path(path).name


@contextmanager
def _speeds() -> Any:
    """Record the speeds of each video's pairs before the decision."""
    from vbench.dynamic_degree import DynamicDegree

    recorded: list[list[float]] = []
    decide = DynamicDegree.check_move

    def record(self: Any, score_list: list[float]) -> bool:
        recorded.append(list(score_list))
        return decide(self, score_list)

    DynamicDegree.check_move = record
    try:
        yield recorded
    finally:
        DynamicDegree.check_move = decide


if __name__ == "__main__":
    main(Path(sys.argv[1]))
