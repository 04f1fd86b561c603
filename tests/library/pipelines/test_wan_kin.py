"""Models made from Wan: images in front of a video, frames with levels of their own, and videos made in parts."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_pipelines import SMALL
from small_pipelines.form import TEXTS
from small_pipelines.parts import film, image
from torch import Tensor

import genkit
from genkit.attention.model.forward import Forward

STRETCHED = genkit.PositionInterpolation(factor=2.5)
FULL = "radial:density=1,block=8,min_tokens=1,dense_steps=0,dense_layers=0"


def run(name: str, *plugins: Any, **changes: Any) -> tuple[list[Forward], list[tuple[dict[str, Any], Tensor | None]]]:
    """The forwards of one video, and for each the arguments of the model and cosines of the first block's table."""
    pipe, seen, given = SMALL[name].build(), [], []
    model = pipe.transformer
    model.register_forward_pre_hook(lambda model, args, kwargs: given.append((kwargs, [])), with_kwargs=True)
    model.blocks[0].register_forward_pre_hook(lambda block, args: given[-1][1].append(args[3][0]))
    with genkit.apply(pipe, *plugins) as handle:
        handle.session.watchers.append(SimpleNamespace(begin=seen.append, end=lambda forward: None))
        SMALL[name].video(pipe, **changes)
    return seen, [(arguments, tables[0] if tables else None) for arguments, tables in given]


def turns(table: Tensor | None, frames: int) -> Tensor:
    """Cosines ``[frames]`` of the fastest frequency of time, one radian for each latent frame."""
    assert table is not None
    return table[0, :, 0, 0].unflatten(0, (frames, -1))[:, 0]


def near(found: Tensor, angles: Sequence[float]) -> None:
    torch.testing.assert_close(found.double(), torch.tensor(angles, dtype=torch.float64).cos(), atol=1e-5, rtol=0)


# --- images in front ---


@pytest.mark.parametrize(
    ("changes", "images"),
    [
        ({"reference_images": None}, 0),
        ({}, 1),
        ({"reference_images": [image()(), image(shift=8)()]}, 2),
        ({"mask": [one.convert("L").point(lambda value: 0) for one in film(17)()]}, 1),
        ({"video": None, "mask": None}, 1),
    ],
    ids=["none", "one", "two", "nothing to change", "no video"],
)
def test_references_of_vace_are_frames_in_front_outside_of_time(changes: dict[str, Any], images: int) -> None:
    seen, _ = run("WanVACEPipeline", **changes)
    assert {(forward.lead, forward.volume[0]) for forward in seen} == {(images, images + 5)}


def test_the_image_in_front_of_wan_animate_is_outside_of_time() -> None:
    seen, _ = run("WanAnimatePipeline")
    assert {(forward.lead, forward.volume[0]) for forward in seen} == {(1, 6)}


def test_a_position_plan_places_the_video_and_leaves_an_image_in_front() -> None:
    _, given = run("WanVACEPipeline", STRETCHED)
    near(turns(given[0][1], 6), [0, 1, 1.4, 1.8, 2.2, 2.6])


def test_of_two_frames_that_are_left_the_second_is_far_away_and_a_plan_scales_that() -> None:
    """ChronoEdit here: of eight positions two are left, the first and the last."""
    _, plain = run("ChronoEditPipeline-two-frames")
    near(turns(plain[-1][1], 2), [0, 7])
    _, given = run("ChronoEditPipeline-two-frames", STRETCHED)
    near(turns(given[0][1], 5), [0, 0.4, 0.8, 1.2, 1.6])
    near(turns(given[-1][1], 2), [0, 2.8])


# --- branches ---


@pytest.mark.parametrize("name", ["WanVideoToVideoPipeline", "ChronoEditPipeline"])
def test_branches_without_a_name_are_those_of_the_texts(name: str) -> None:
    seen, given = run(name)
    length = SMALL[name].call["max_sequence_length"]
    pipe = SMALL[name].build()
    with torch.no_grad():
        texts = pipe.encode_prompt(**TEXTS, do_classifier_free_guidance=True, max_sequence_length=length)
    each = [arguments["encoder_hidden_states"] for arguments, _ in given]
    of_text = ["cond" if (one - texts[0]).norm() < (one - texts[1]).norm() else "uncond" for one in each]
    assert len(seen) >= 4 and of_text[:2] == ["cond", "uncond"]
    assert [forward.step.branches for forward in seen] == [(branch,) for branch in of_text]


# --- noise ---


def test_noise_is_reordered_along_frames_also_where_the_model_takes_another_layout() -> None:
    pipe = SMALL["AnyFlowPipeline"].build()
    with genkit.apply(pipe, genkit.FreeNoise(window=3, stride=1)):
        noise = pipe.prepare_latents(
            1, 4, 48, 64, 17, torch.float32, torch.device("cpu"), torch.Generator().manual_seed(0)
        )
    assert noise.shape == (1, 4, 5, 6, 8)
    first = [noise[:, :, frame] for frame in range(3)]
    assert all(any(torch.equal(noise[:, :, frame], one) for one in first) for frame in (3, 4))


def test_noise_is_not_changed_where_a_video_is_in_it() -> None:
    with pytest.raises(
        genkit.UsageError, match="freenoise changes the first latents .* contain the video that it changes"
    ):
        genkit.apply(SMALL["WanVideoToVideoPipeline"].build(), genkit.FreeNoise())


# --- diffusion forcing ---


def test_frames_with_levels_of_their_own_are_as_far_as_their_levels() -> None:
    seen, _ = run("SkyReelsV2DiffusionForcingPipeline-asynchronous")
    steps = [forward.step for forward in seen if forward.step.branches == ("cond",)]
    each = torch.stack([step.frame_progress for step in steps if step.frame_progress is not None])
    assert len(each) > 2 and each.shape[1] == 5
    assert (each.diff(dim=0) >= 0).all() and (each.diff(dim=1) <= 0).all() and (each.diff(dim=1) < 0).any()
    assert [step.index for step in steps] == sorted(step.index for step in steps)
    assert steps[-1].progress > 0


def test_a_mask_between_blocks_of_frames_is_refused_and_the_video_is_as_without() -> None:
    name, changes = "SkyReelsV2DiffusionForcingPipeline", {"num_frames": 13, "ar_step": 1, "causal_block_size": 2}
    pipe = SMALL[name].build()
    plain = SMALL[name].video(pipe, **changes)
    with genkit.apply(pipe, genkit.plugins.catalogue.parse(FULL)) as handle:
        assert torch.equal(SMALL[name].video(pipe, **changes), plain)
        assert any("mask" in reason for _, reason in handle.session.run.refusals)
        assert not handle.session.run.densities


# --- parts ---


def test_a_chunk_stands_behind_its_history() -> None:
    pipe = SMALL["HeliosPipeline"].build()
    found: list[tuple[int, int, int]] = []
    with genkit.apply(pipe) as handle:

        def note(block: Any, args: tuple[Any, ...]) -> None:
            others = args[0].shape[1] - args[4]
            grid = handle.session.grid_of("joint", others)
            found.append((grid.before - others, grid.video_tokens - args[4], grid.after))

        pipe.transformer.blocks[0].register_forward_pre_hook(note)
        SMALL["HeliosPipeline"].video(pipe)
    assert set(found) == {(0, 0, 0)}


def test_events_are_refused_where_each_part_would_show_all_of_them() -> None:
    pipe = SMALL["HeliosPipeline"].build()
    with genkit.apply(pipe, genkit.Timeline()) as handle:
        SMALL["HeliosPipeline"].video(pipe, prompt="a red circle | a blue square")
        assert handle.session.run.backends["text routing"]
        with pytest.raises(genkit.UsageError, match="timeline: Helios makes this video in parts"):
            SMALL["HeliosPipeline-two-chunks"].video(pipe, prompt="a red circle | a blue square")


@pytest.mark.parametrize("name", ["HeliosPipeline-two-chunks", "SkyReelsV2DiffusionForcingPipeline-sections"])
def test_parts_are_counted_before_the_first_forward(name: str) -> None:
    """The second part of a minute of video comes after minutes of work."""
    pipe, forwards = SMALL[name].build(), []
    pipe.transformer.register_forward_pre_hook(lambda model, args: forwards.append(1))
    refused = pytest.raises(genkit.UsageError, match="makes this video in parts, and each part would show all events")
    with genkit.apply(pipe, genkit.Timeline()), refused:
        SMALL[name].video(pipe, prompt="a red circle | a blue square")
    assert not forwards


@pytest.mark.parametrize("name", ["AnyFlowPipeline", "HeliosPipeline"])
def test_positions_that_cannot_be_changed_are_refused_in_words(name: str) -> None:
    with pytest.raises(
        genkit.UsageError, match="position-interpolation changes the positions .* cannot be changed yet"
    ):
        genkit.apply(SMALL[name].build(), STRETCHED)
