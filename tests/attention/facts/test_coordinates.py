"""The video among packed tokens is found by the coordinates that diffusers makes for them."""

import diffusers
import pytest
import torch
from torch import Tensor

from genkit.attention.facts.coordinates import placed


def tokens(times: list[float], rows: int = 3, cols: int = 4) -> Tensor:
    """Coordinates ``[1, 3, N]`` of frames at ``times``."""
    grid = torch.meshgrid(torch.tensor(times), 32.0 * torch.arange(rows), 32.0 * torch.arange(cols), indexing="ij")
    return torch.stack(grid).flatten(1)[None]


def of_model(frames: int, rows: int, cols: int) -> Tensor:
    """Coordinates ``[1, 3, N, 2]`` that LTX-2 makes."""
    model = diffusers.LTX2VideoTransformer3DModel(num_layers=1, num_attention_heads=1, audio_num_attention_heads=1)
    found: Tensor = model.rope.prepare_video_coords(1, frames, rows, cols, torch.device("cpu"), fps=24.0)
    return found


VIDEO = [0.0, 1 / 24, 9 / 24, 17 / 24, 25 / 24]


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ([tokens(VIDEO)], (0, (5, 3, 4))),
        ([tokens([16 / 24, 17 / 24]), tokens(VIDEO)], (24, (5, 3, 4))),
        ([tokens(VIDEO), tokens([0.0, 1 / 24])], (0, (5, 3, 4))),
        ([tokens(VIDEO), tokens([VIDEO[-1]])], (0, (5, 3, 4))),
        ([tokens([2.0]), tokens([3.0]), tokens(VIDEO), tokens([0.0], 6, 2)], (24, (5, 3, 4))),
        ([tokens([0.0])], (0, (1, 3, 4))),
        ([tokens(VIDEO, 1, 1)], (0, (5, 1, 1))),
    ],
)
def test_other_tokens_stand_on_either_side(parts: list[Tensor], found: tuple[int, tuple[int, int, int]]) -> None:
    assert placed(torch.cat(parts, -1)) == found


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_a_keyframe_inside_the_time_of_the_last_frame_is_not_a_frame(frames: int) -> None:
    video = of_model(frames, 3, 4)
    keyframe = video[:, :, -12:].clone()
    keyframe[:, 0] = torch.tensor([8 * frames - 9.0, 8 * frames - 8.0]) / 24
    assert placed(torch.cat([video, keyframe], 2)) == (0, (frames, 3, 4))
    assert placed(torch.cat([video, of_model(frames, 2, 2)], 2)) == (0, (frames, 3, 4))


def test_frames_without_whole_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="a frame of 11 tokens does not have rows of 4"):
        placed(tokens([0.0])[..., :11])
