"""Legal lengths of video, and the latent frames of those whose latent frames are of several lengths."""

import pytest
from diffusers.modular_pipelines.minimax_h3.modular_pipeline import video_latent_num_frames
from small_pipelines import MODULAR

from genkit.attention.facts.lengths import Lengths
from genkit.pipelines.known import checkpoints
from genkit.pipelines.matching import card_of

MINIMAX = Lengths(step=17, offset=5, shortest=124, longest=345)


@pytest.mark.parametrize("lengths", [Lengths(step=1), Lengths(step=4), Lengths(step=8, offset=3, shortest=3), MINIMAX])
def test_the_nearest_length_is_legal_and_none_is_nearer(lengths: Lengths) -> None:
    legal = range(lengths.shortest, (lengths.longest or 400) + 1, lengths.step)
    for frames in range(-3, 390):
        near = lengths.nearest(frames)
        assert near in legal and abs(near - frames) == min(abs(one - frames) for one in legal)
        assert lengths.allow(frames) == (frames in legal)


@pytest.mark.parametrize(
    ("lengths", "rule"),
    [
        (Lengths(step=1), "whole numbers from 1"),
        (Lengths(step=4), "4k + 1 frames"),
        (MINIMAX, "17k + 5 frames, 124 to 345"),
    ],
)
def test_the_rule_in_words(lengths: Lengths, rule: str) -> None:
    assert lengths.rule == rule


def test_minimax_h3_has_five_latent_frames_for_seventeen() -> None:
    """As diffusers counts them: 124 frames are 37, one of 1 frame and four of 4 in each group."""
    pipe = MODULAR["MiniMaxH3ModularPipeline"].build()
    card = card_of(pipe)
    assert card.lengths(pipe) == MINIMAX and card.token_frames(pipe, 124) == 37
    for frames in range(5, 400, 17):
        assert card.token_frames(pipe, frames) == video_latent_num_frames(frames, 17, 5)


def test_the_countries_of_a_licence_are_said() -> None:
    (minimax,) = [one for one in checkpoints() if one.family == "minimax-h3"]
    assert "not for use in the EU, the UK, South Korea and the US" in minimax.licence
