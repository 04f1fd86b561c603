"""RAFT for optical flow, from torchvision's class. Source: Z. Teed, J. Deng, arXiv 2003.12039."""

import re
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

State = Mapping[str, Tensor]

_declared: list[torch.library.Library] = []
"""Keeps the declarations of :func:`torchvision_flow` alive; they would be undone with the object."""

NAMES = (
    (r"^fnet\.", "feature_encoder."),
    (r"^cnet\.", "context_encoder."),
    (r"^((?:feature|context)_encoder)\.conv1\.", r"\1.convnormrelu.0."),
    (r"^((?:feature|context)_encoder)\.norm1\.", r"\1.convnormrelu.1."),
    (r"^((?:feature|context)_encoder)\.conv2\.", r"\1.conv."),
    (r"(layer\d\.\d)\.conv(\d)\.", r"\1.convnormrelu\2.0."),
    (r"(layer\d\.\d)\.norm([12])\.", r"\1.convnormrelu\2.1."),
    (r"^update_block\.encoder\.(conv[cf]\d)\.", r"update_block.motion_encoder.\1.0."),
    (r"\.motion_encoder\.convc(\d)\.", r".motion_encoder.convcorr\1."),
    (r"\.motion_encoder\.convf(\d)\.", r".motion_encoder.convflow\1."),
    (r"^update_block\.encoder\.conv\.", "update_block.motion_encoder.conv.0."),
    (r"^update_block\.gru\.conv([zrq])([12])\.", r"update_block.recurrent_block.convgru\2.conv\1."),
    (r"^update_block\.mask\.0\.", "mask_predictor.convrelu.0."),
    (r"^update_block\.mask\.2\.", "mask_predictor.conv."),
)
"""Patterns from the authors' names to torchvision's; the flow head has the same name in both."""


def raft(state: State | None) -> nn.Module:
    """Build RAFT's large network; the authors' checkpoint and torchvision's own are accepted."""
    network = torchvision_flow().raft_large(weights=None, progress=False)
    if state is not None:
        network.load_state_dict(raft_state(state), strict=True)
    return network


def raft_state(state: State) -> dict[str, Tensor]:
    """Return the authors' checkpoint under torchvision's names; torchvision's own is returned unchanged."""
    if not any(name.startswith("fnet.") for name in state):
        return dict(state)
    return {rename(name): value for name, value in state.items() if not _is_duplicate(name)}


def rename(name: str) -> str:
    """Return torchvision's name for one of the authors' names."""
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def torchvision_flow() -> Any:
    """Import the module ``torchvision.models.optical_flow``.

    The usual torchvision is compiled for CUDA; beside a CPU build of torch its operators are missing, so importing it
    fails. RAFT uses none of them: they are declared without an implementation, and the import is repeated.
    """
    try:
        from torchvision.models import optical_flow
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
        from torchvision.models import optical_flow
    return optical_flow


def _is_duplicate(name: str) -> bool:
    """Return True for the norm of a shortcut, which the authors' checkpoint stores again as ``downsample.1``."""
    return ".norm3." in name
