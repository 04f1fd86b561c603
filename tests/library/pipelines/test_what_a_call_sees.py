"""What facts of a pipeline change in a run: the grid of a call, its branches, the noise, and what stays as it is."""

import functools
from collections.abc import Mapping
from typing import Any

import diffusers
import pytest
import torch
from small_pipelines import SMALL
from torch import Tensor

import genkit
from genkit.attention.calls.call import Attend, Call
from genkit.attention.facts.known import facts_of_model
from genkit.pipelines.matching import card_of, check_index

SPARSE = "threshold:tau=1,block=8,min_tokens=1,dense_steps=0,dense_layers=0"


def calls_of(name: str, **changes: Any) -> tuple[list[Call], Any]:
    """All attention calls of one run with a sparse method, and its record."""
    small, calls = SMALL[name], list[Call]()
    pipe = small.build()

    def watched(attend: Attend) -> Attend:
        def attended(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
            calls.append(call)
            return attend(q, k, v, call)

        return attended

    with genkit.apply(pipe, *([genkit.plugins.catalogue.parse(SPARSE)] if changes.pop("sparse", True) else [])) as made:
        made.session.attends = {kind: watched(attend) for kind, attend in made.session.attends.items()}
        small.video(pipe, **changes)
        return calls, made.session.run


def test_a_reference_image_is_not_a_frame_of_the_video() -> None:
    """Kandinsky 6 appends it behind the last frame, at the position of the first."""
    assert _places("Kandinsky6TI2VAPipeline-image") == {(5, 0, 3 * 4)}
    assert _places("Kandinsky6TI2VAPipeline") == {(5, 0, 0)}


def _places(name: str) -> set[tuple[int, int, int]]:
    """Frames of the video and tokens on either side, in all joint calls of a run."""
    grids = [call.grid for call in calls_of(name)[0] if call.kind == "joint"]
    return {(grid.frames, grid.before, grid.after) for grid in grids}


def test_branches_by_order_are_counted_in_each_model_apart() -> None:
    """Transfer runs control net and model for cond, and then both for uncond."""
    calls, _ = calls_of("Cosmos2_5_TransferPipeline")
    order = [(call.model, call.step.branches[0]) for call in calls]
    first = list(dict.fromkeys(order))
    assert first == [
        ("controlnet", "cond"),
        ("transformer", "cond"),
        ("controlnet", "uncond"),
        ("transformer", "uncond"),
    ]
    assert len(set(map(order.count, first[1::2]))) == len(set(map(order.count, first[::2]))) == 1


def test_a_perturbed_branch_is_the_third_of_a_batch() -> None:
    calls, _ = calls_of("AnimateDiffPAGPipeline", sparse=False)
    assert {call.step.branches for call in calls} == {("uncond", "cond", "perturbed")}
    assert {(call.grid.rows, call.grid.cols) for call in calls if call.kind == "temporal"} >= {(6, 8), (3, 4)}


def test_the_receipt_says_which_attention_over_the_video_stays_as_it_is() -> None:
    calls, run = calls_of("MotifVideoPipeline-decoder")
    note = "2 attention layers of transformer stay as they are: they see the video twice, in two versions"
    assert note in run.notes
    assert {call.layer for call in calls} == {"transformer_blocks.0.attn", "single_transformer_blocks.0.attn"}
    assert calls_of("MotifVideoPipeline-decoder", sparse=False)[1].notes == []


def test_linear_blocks_stay_as_they_are_and_the_others_are_routed() -> None:
    calls, run = calls_of("SanaWMPipeline")
    assert {call.layer for call in calls if call.kind == "self"} == {"blocks.1.attn", "blocks.3.attn"}
    assert any(note.startswith("2 attention layers of transformer stay as they are") for note in run.notes)


def test_a_noise_plan_leaves_a_condition_beside_the_noise_as_it_is() -> None:
    """Kandinsky 5 returns noise, image and mask as the channels of one tensor."""
    small = SMALL["Kandinsky5I2VPipeline"]
    pipe, made = small.build(), list[Tensor]()
    prepare = type(pipe).prepare_latents

    @functools.wraps(prepare)
    def kept(self: Any, *args: Any, **kwargs: Any) -> Tensor:
        made.append(prepare(self, *args, **kwargs))
        return made[-1].clone()

    pipe.prepare_latents = kept.__get__(pipe)
    with genkit.apply(pipe, genkit.FreeNoise(window=2)) as handle:
        planned = pipe.prepare_latents(**_latents(pipe, small.arguments()["image"]))
        assert handle.session.run.came["freenoise", "noise"] == 1
    assert torch.equal(planned[..., 4:], made[0][..., 4:]) and made[0][..., 4:].any()
    assert not torch.equal(planned[..., :4], made[0][..., :4])


def _latents(pipe: Any, image: Any) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    sizes = {"num_channels_latents": 4, "height": 48, "width": 64, "num_frames": 17}
    return {"image": image, "batch_size": 1, "dtype": torch.float32, "device": "cpu", "generator": generator, **sizes}


def test_a_checkpoint_with_sparse_attention_of_its_own_has_none_of_ours() -> None:
    pipe = SMALL["Kandinsky5T2VPipeline"].build()
    pipe.transformer.register_to_config(attention_type="nabla")
    facts = facts_of_model(pipe.transformer)
    assert facts is not None and set(facts.layers) == {"cross"} and facts.blocks == ()
    with pytest.raises(genkit.UsageError, match="radial"):
        genkit.apply(pipe, genkit.Radial())


def test_what_a_pipeline_gives_instead_of_noise_is_on_its_card() -> None:
    assert card_of(SMALL["SanaImageToVideoPipeline"].build()).given_frames == 1
    assert card_of(SMALL["SanaVideoPipeline"].build()).given_frames == 0
    assert card_of(SMALL["VideoToVideoSDPipeline"].build()).given is not None
    assert card_of(SMALL["AnimateDiffVideoToVideoPipeline"].build()).given is not None
    assert card_of(SMALL["AnimateDiffPipeline"].build()).given is None


@pytest.mark.parametrize(
    ("pipeline", "part", "reason"),
    [
        ("LTXLatentUpsamplePipeline", {"latent_upsampler": "LTXLatentUpsamplerModel"}, "it has no denoising model"),
        ("LTX2LatentUpsamplePipeline", {"latent_upsampler": "LTX2LatentUpsamplerModel"}, "it has no denoising model"),
        (
            "LTX2VideoDiffusionDecodePipeline",
            {"diffusion_decoder": "LTX2VideoDiffusionDecoderModel"},
            "it has no denoising model",
        ),
        ("EasyAnimateControlPipeline", {"transformer": "EasyAnimateTransformer3DModel"}, "diffusers cannot run it"),
    ],
)
def test_what_makes_no_video_is_refused_with_its_reason(pipeline: str, part: Mapping[str, str], reason: str) -> None:
    index = {name: ["diffusers", kind] for name, kind in part.items()}
    with pytest.raises(genkit.UsageError, match=reason):
        check_index(getattr(diffusers, pipeline), index)
