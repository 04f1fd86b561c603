"""The video in the packed sequence of MiniMax-H3, read from layouts that diffusers' own blocks build."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.modular_pipelines.minimax_h3.before_denoise import (
    MiniMaxH3PrepareLayoutStep,
    MiniMaxH3Ref2VAPrepareLayoutStep,
    MiniMaxH3SetTimestepsStep,
)
from torch import nn

from genkit.attention.facts.models.minimax import levels_of_target, target

SIZES: dict[str, Any] = {"num_audio_latents": 11, "patch_size": (1, 2, 2), "audio_channels": 2}
TAGS = {"audio_tag": 2, "video_tag": 0}
TEXT = torch.ones(9, dtype=torch.long)
MODEL = nn.Identity()


def arguments(layout: tuple[Any, ...]) -> dict[str, Any]:
    """The arguments of a forward that a layout sets."""
    return dict(
        zip(("position_ids", "token_tags", "video_indices", "audio_indices", "text_indices"), layout, strict=False)
    )


def with_keyframes(frames: int, rows: int, cols: int, *anchors: str) -> tuple[Any, ...]:
    return MiniMaxH3PrepareLayoutStep.build_packed_sequence(
        TEXT, frames, 2 * rows, 2 * cols, **SIZES, **TAGS, keyframe_anchors=anchors
    )


@pytest.mark.parametrize("anchors", [(), ("first",), ("last",), ("first", "last")])
@pytest.mark.parametrize("volume", [(37, 2, 2), (7, 3, 2), (7, 1, 5), (7, 4, 1), (1, 3, 2)])
def test_frames_rows_and_columns_are_those_of_the_video(volume: tuple[int, int, int], anchors: tuple[str, ...]) -> None:
    assert target(MODEL, arguments(with_keyframes(*volume, *anchors))) == volume


@pytest.mark.parametrize("longer", [7, 12])
def test_a_reference_video_as_long_or_longer_is_not_taken_for_the_one_that_is_made(longer: int) -> None:
    references = [
        SimpleNamespace(kind="image"),
        SimpleNamespace(kind="audio"),
        SimpleNamespace(kind="video", has_audio=True),
    ]
    latents = [torch.zeros(1, 4, 1, 8, 8), torch.zeros(1, 4, longer, 6, 4)]
    sounds = [torch.zeros(6, 32), torch.zeros(10, 32)]
    layout = MiniMaxH3Ref2VAPrepareLayoutStep.build_ref2va_packed_sequence(
        TEXT, references, latents, sounds, 7, 6, 4, **SIZES, **TAGS
    )
    assert target(MODEL, arguments(layout)) == (7, 3, 2)


def test_a_keyframe_directly_before_the_video_is_not_one_of_its_frames() -> None:
    """Without sound rows between them they are told apart by their times."""
    given = arguments(with_keyframes(5, 2, 2, "first"))
    keep = torch.ones(len(given["position_ids"]), dtype=torch.bool)
    keep[given["audio_indices"]] = False
    given["video_indices"] = torch.arange(len(TEXT), int(keep.sum()))
    given["position_ids"] = given["position_ids"][keep]
    assert target(MODEL, given) == (5, 2, 2)


def test_levels_are_those_of_the_video_alone() -> None:
    layout = with_keyframes(5, 2, 3, "first", "last")
    given = arguments(layout)
    given["timestep"], given["timestep_indices"] = MiniMaxH3SetTimestepsStep.build_row_timesteps(
        given["video_indices"], given["audio_indices"], layout[5], layout[6], len(TEXT), 0.25, 0.5, 0.999, 1.0
    )
    assert len(given["timestep"]) == 3, "sound and keyframes have other levels"
    assert torch.equal(levels_of_target(MODEL, given), torch.full((1, 30), 0.25))


def test_a_sequence_that_ends_otherwise_is_refused() -> None:
    given = arguments(with_keyframes(5, 2, 2))
    given["position_ids"] = torch.cat([given["position_ids"], given["position_ids"][:1]])
    with pytest.raises(ValueError, match="does not end with the video that is made"):
        target(MODEL, given)
