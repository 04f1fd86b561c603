"""VBench's small functions on random inputs, for `make parity`. Loaded by official.py; it imports nothing of genkit.

``inputs`` contains by name the cases drawn by functions.py; each case gives one tensor. Methods are called on
objects without initialisation, since their networks are not used.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor


def outputs(inputs: dict[str, list[Any]], vision_transformer: Any) -> dict[str, list[Tensor]]:
    """Return the official result for every case."""
    from vbench.utils import clip_transform, dino_transform

    return {
        "moves": [_moves(**case) for case in inputs["moves"]],
        "every_8th": [_every_8th(**case) for case in inputs["every_8th"]],
        "speed": [_speed(case) for case in inputs["speed"]],
        "dino_224": [dino_transform(224)(_load(case)) for case in inputs["dino_224"]],
        "clip_224": [clip_transform(224)(_load(case)) for case in inputs["clip_224"]],
        "cut": [_truncate(case) for case in inputs["cut"]],
        "padded": [_pad(**case) for case in inputs["padded"]],
        "positions": [_positions(vision_transformer, **case) for case in inputs["positions"]],
        "flicker": [_flicker(case) for case in inputs["flicker"]],
    }


def _dynamic_degree() -> Any:
    from vbench.dynamic_degree import DynamicDegree

    return DynamicDegree.__new__(DynamicDegree)


def _moves(speeds: list[float], side: int) -> Tensor:
    judge = _dynamic_degree()
    judge.set_params(frame=torch.empty(1, 3, side, side + 8), count=len(speeds) + 1)
    return torch.tensor(judge.check_move(speeds))


def _every_8th(fps: float, frames: int) -> Tensor:
    """Return the indices of the sampled frames, read from a video whose frame n contains the number n."""
    import vbench.dynamic_degree as module

    class Numbers:
        def __init__(self, path: str) -> None:
            self.next = 0

        def get(self, what: int) -> float:
            return fps

        def isOpened(self) -> bool:
            return True

        def read(self) -> tuple[bool, Any]:
            self.next += 1
            return self.next <= frames, np.full((1, 1, 3), self.next - 1, np.uint8)

        def release(self) -> None:
            pass

    judge, reader = _dynamic_degree(), module.cv2
    judge.device = "cpu"
    module.cv2 = SimpleNamespace(
        VideoCapture=Numbers,
        CAP_PROP_FPS=reader.CAP_PROP_FPS,
        COLOR_BGR2RGB=reader.COLOR_BGR2RGB,
        cvtColor=reader.cvtColor,
    )
    try:
        return torch.tensor([int(frame[0, 0, 0, 0]) for frame in judge.get_frames("numbers")])
    finally:
        module.cv2 = reader


def _speed(flow_2HW: Tensor) -> Tensor:
    return torch.tensor(_dynamic_degree().get_score(torch.empty(1, 3, *flow_2HW.shape[1:]), flow_2HW[None]))


def _load(frames_THWC: Tensor) -> Tensor:
    return frames_THWC.float().permute(0, 3, 1, 2)


def _truncate(image_13HW: Tensor) -> Tensor:
    from vbench.third_party.amt.utils.utils import tensor2img

    return torch.from_numpy(tensor2img(image_13HW))


def _pad(image: Tensor, divisor: int) -> Tensor:
    from vbench.third_party.amt.utils.utils import InputPadder as AmtPadder
    from vbench.third_party.RAFT.core.utils_core.utils import InputPadder as RaftPadder

    if divisor == 8:
        return RaftPadder(image.shape).pad(image)[0]
    return AmtPadder(image.shape, divisor).pad(image)


def _positions(vision_transformer: Any, table: Tensor, height: int, width: int) -> Tensor:
    network = vision_transformer.VisionTransformer(patch_size=16, embed_dim=table.shape[-1], depth=0, num_heads=1)
    network.pos_embed.data = table
    tokens = torch.empty(1, 1 + (height // 16) * (width // 16), table.shape[-1])
    return network.interpolate_pos_encoding(tokens, height, width).detach()


def _flicker(frames_THWC: Tensor) -> Tensor:
    import vbench.temporal_flickering as module

    reader = module.get_frames
    module.get_frames = list
    try:
        return torch.tensor(module.cal_score(frames_THWC.numpy()), dtype=torch.float64)
    finally:
        module.get_frames = reader
