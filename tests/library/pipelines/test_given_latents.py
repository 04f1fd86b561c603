"""What a pipeline puts into its first latents beside noise is not moved in time by a noise plan."""

from typing import Any

import pytest
import torch
from small_pipelines import SMALL
from small_pipelines.parts import image
from torch import Tensor

import genkit
from genkit.pipelines.matching import card_of

FREENOISE = genkit.FreeNoise(window=2, stride=1)


def first_latents(name: str, pipe: Any) -> Tensor:
    """The latents ``[tokens, C]`` of the first forward."""
    found: list[Tensor] = []
    hook = pipe.transformer.register_forward_pre_hook(
        lambda model, args, given: found.append(given["hidden_states"][-1]), with_kwargs=True
    )
    try:
        SMALL[name].video(pipe, num_inference_steps=1)
    finally:
        hook.remove()
    return found[0]


@pytest.mark.parametrize("name", ["LTXImageToVideoPipeline", "LTX2ImageToVideoPipeline"])
def test_a_first_frame_that_is_given_stays_and_noise_moves_behind_it(name: str) -> None:
    pipe = SMALL[name].build()
    plain = first_latents(name, pipe).unflatten(0, (5, -1))
    with genkit.apply(pipe, FREENOISE):
        planned = first_latents(name, pipe).unflatten(0, (5, -1))
    assert torch.equal(planned[:3], plain[:3])
    assert not torch.equal(planned[3:], plain[3:])
    assert all(any(torch.equal(frame, drawn) for drawn in plain[1:3]) for frame in planned[3:])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("LTXConditionPipeline", "conditions at any place"),
        ("LTX2ConditionPipeline", "conditions at any place"),
        ("LTX2HDRPipeline", "conditions at any place"),
        ("LTX2InContextPipeline", "conditions at any place"),
        ("LTXI2VLongMultiPromptPipeline", "each of its windows draws other noise"),
        ("CogVideoXVideoToVideoPipeline", "contain the video that it changes"),
    ],
)
def test_latents_with_more_than_noise_are_not_planned(name: str, reason: str) -> None:
    with pytest.raises(genkit.UsageError, match=f"freenoise changes the first latents of .*{reason}; leave freenoise"):
        genkit.apply(SMALL[name].build(), FREENOISE)


def test_the_noise_of_references_stays_where_it_is() -> None:
    """VACE puts a latent frame for each reference in front of the video's."""
    pipe = SMALL["WanVACEPipeline"].build()
    drawn: list[Tensor] = []
    hook = pipe.transformer.register_forward_pre_hook(
        lambda model, args, given: drawn.append(given["hidden_states"]), with_kwargs=True
    )
    references = {"reference_images": [image()()], "num_inference_steps": 1}
    SMALL["WanVACEPipeline"].video(pipe, **references)
    with genkit.apply(pipe, FREENOISE):
        SMALL["WanVACEPipeline"].video(pipe, **references)
    hook.remove()
    plain, planned = drawn[0], drawn[-1]
    assert plain.shape[2] == 6
    assert torch.equal(planned[:, :, :3], plain[:, :, :3]) and not torch.equal(planned[:, :, 3:], plain[:, :, 3:])
    for frame in planned[:, :, 3:].unbind(2):
        assert any(torch.equal(frame, own) for own in plain[:, :, 1:3].unbind(2)), "a reference's noise was reused"


def test_noise_is_planned_unless_this_run_was_given_an_image() -> None:
    pipe = SMALL["Cosmos3OmniPipeline"].build()
    plain = SMALL["Cosmos3OmniPipeline"].video(pipe)
    with genkit.apply(pipe, FREENOISE):
        assert not torch.equal(SMALL["Cosmos3OmniPipeline"].video(pipe), plain)
        with pytest.raises(genkit.UsageError, match="contain the image that was given; leave out image or freenoise"):
            SMALL["Cosmos3OmniPipeline-image"].video(pipe)


def test_the_configuration_tells_the_checkpoint() -> None:
    made = {name: SMALL[name].build() for name in ("LTX2Pipeline", "LTX2DFRPipeline", "HunyuanVideo15Pipeline")}
    facts = {name: (card_of(pipe).title, card_of(pipe).fps, card_of(pipe).stride(pipe)) for name, pipe in made.items()}
    assert facts == {
        "LTX2Pipeline": ("LTX-2", 24, 8),
        "LTX2DFRPipeline": ("LTX-2.5", 24, 8),
        "HunyuanVideo15Pipeline": ("HunyuanVideo 1.5", 24, 4),
    }
    made["LTX2Pipeline"].transformer.register_to_config(use_prompt_embeddings=False)
    assert card_of(made["LTX2Pipeline"]).title == "LTX-2.3"
