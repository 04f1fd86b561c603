"""MiniMax-H3: text, keyframes or references, sound and video in one packed sequence."""

from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from genkit.attention.facts.model_facts import ModelFacts, all_before
from genkit.attention.facts.positions import fixed_positions
from genkit.attention.facts.volume import Arguments, Volume


def target(model: nn.Module, arguments: Arguments) -> Volume:
    """Read the video that is made: the last frames of the sequence that follow each other in time.

    Raises:
        ValueError: the sequence does not end with a video, or its frames are not rows of one length.
    """
    video: Tensor = arguments["video_indices"].cpu()
    places: Tensor = arguments["position_ids"].detach().double().cpu()
    total = len(places)
    if not len(video) or int(video[-1]) != total - 1:
        raise ValueError(
            "the packed sequence does not end with the video that is made, as that of MiniMax-H3's own pipeline does; "
            "leave out the plug-ins"
        )
    run = int((video.flip(0) + video.new_tensor(range(len(video))) == total - 1).sum())
    time, row, _ = places[total - run :].T
    tokens = _ending_alike(time)
    cols = _ending_alike(row[-tokens:])
    if tokens % cols:
        raise ValueError(f"a frame of {tokens} tokens does not have rows of {cols}; are these positions of a video?")
    begins = time[run % tokens :: tokens].tolist()
    steps = enumerate(pairwise(reversed(begins)), 1)
    frames = next((number for number, (later, earlier) in steps if earlier >= later), len(begins))
    return frames, tokens // cols, cols


def levels_of_target(model: nn.Module, arguments: Arguments) -> Any:
    """Return the timestep of each token of the video that is made, ``[1, tokens]``."""
    frames, rows, cols = target(model, arguments)
    indices: Tensor = arguments["timestep_indices"][-frames * rows * cols :]
    return arguments["timestep"][indices][None]


def _ending_alike(values: Tensor) -> int:
    """Return how many values at the end are equal."""
    other = (values != values[-1]).nonzero().flatten()
    return len(values) - 1 - int(other[-1]) if len(other) else len(values)


MODELS = (
    ModelFacts(
        classes=("MiniMaxH3Transformer3DModel",),
        layers={"joint": r"transformer_blocks\.\d+\.attn"},
        excluded={r"token_refiner\.refiner_blocks\.\d+\.attn": "it sees text alone"},
        volume=target,
        levels=levels_of_target,
        before=all_before,
        frame_axis=None,
        positions=fixed_positions(
            "numbers its frames on one clock with its sound, and its pipeline makes nothing longer than the clips that "
            "it was trained on"
        ),
        one_level="each modality has a schedule of its own, which its pipeline sets for whole sequences",
        one_piece="its sound is denoised in one sequence with all frames",
    ),
)
