"""Facts of pipelines that are wrong in one thing each, and pipelines that do something else than they say."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from small_pipelines import SMALL

import genkit
from genkit.pipelines import known


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(known, "_REGISTERED", dict(known._REGISTERED))


WRONG: dict[str, tuple[str, str, Mapping[str, Any], str, str]] = {
    "wrong frame axis of the noise": (
        "WanPipeline",
        "wan",
        {"noise_axis": 1},
        "noise_axis",
        r"the first latents are \[1, 4, 5, 6, 8\], with 5 frames, and not in axis 1",
    ),
    "noise that is taken for packed": (
        "LTXPipeline",
        "ltx",
        {"noise_axis": 2},
        "noise_axis",
        "with 5 frames, and not in axis 2",
    ),
    "halves where forwards have names": (
        "WanPipeline",
        "wan",
        {"branches": "halves"},
        "branches",
        "each step has 2 forwards of one branch, and the facts say 'halves'",
    ),
    "an order where forwards have names": (
        "WanPipeline",
        "wan",
        {"branches": "order"},
        "branches",
        "forwards are named cond, uncond, and the facts say 'order'",
    ),
    "names where there are none": (
        "WanVideoToVideoPipeline",
        "wan-v2v",
        {"branches": "names"},
        "branches",
        "2 forwards of a step have no name, and the facts say 'names'",
    ),
    "names where both are in one batch": (
        "LTXPipeline",
        "ltx",
        {"branches": "names"},
        "branches",
        "each forward has 2 branches in its batch, and the facts say 'names'",
    ),
    "another answer of encode_prompt": (
        "WanPipeline",
        "wan",
        {"prompts": "masked pairs"},
        "prompts",
        "of 2 items of its answer, with the prompt changes 0, and the facts say 'masked pairs'",
    ),
    "sigmas that fall called rising": (
        "WanPipeline",
        "wan",
        {"ascending_sigmas": True},
        "ascending_sigmas",
        r"noise rises from .* in step 1, and the facts say True",
    ),
    "another stride": (
        "WanPipeline",
        "wan",
        {"stride_attribute": None},
        "stride_attribute",
        "17 pixel frames are 5 token frames in a forward, and by no stride they are 17",
    ),
    "another size of tokens": (
        "WanPipeline",
        "wan",
        {"size_attribute": "vae_scale_factor_temporal"},
        "size_attribute",
        r"48 x 64 pixels are 3 x 4 tokens, and by vae_scale_factor_temporal and the patch a token has 8 x 8 pixels",
    ),
}
"""Pipeline, name of its facts, what is wrong in them, the fact that is found, and a part of the sentence."""


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_fact_of_a_pipeline_is_named(name: str) -> None:
    pipeline, facts, change, fact, says = WRONG[name]
    genkit.register(replace(known._REGISTERED[facts], **change), replace=True)
    refused(SMALL[pipeline].build(), pipeline, fact, says)


def refused(pipe: Any, pipeline: str, fact: str, says: str) -> None:
    pipe.set_progress_bar_config(disable=True)
    found = genkit.check(pipe, **SMALL[pipeline].arguments())
    assert [one.fact for one in found.wrong] == [fact], found
    with pytest.raises(genkit.UsageError, match=says):
        found.require()


def swapped(pipe: Any) -> Any:
    """The pipeline with the negative prompt where the prompt is, as one that runs uncond where others run cond."""
    own: Callable[..., Any] = type(pipe).encode_prompt

    def encode_prompt(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = own(self, *args, **kwargs)
        return tuple(answer[(place + len(answer) // 2) % len(answer)] for place in range(len(answer)))

    pipe.__class__ = type(f"Swapped{type(pipe).__name__}", (type(pipe),), {"encode_prompt": encode_prompt})
    return pipe


@pytest.mark.parametrize(
    ("pipeline", "says"),
    [
        ("LTXPipeline", "the prompt is in the part of the batch that is taken for uncond, and the facts say 'halves'"),
        ("WanVideoToVideoPipeline", "the first forward of a step does not have the prompt of cond"),
        ("WanPipeline", "the first forward of a step, named cond, does not have the prompt of cond"),
    ],
)
def test_swapped_branches_are_named(pipeline: str, says: str) -> None:
    pipe = swapped(SMALL[pipeline].build())
    pipe.set_progress_bar_config(disable=True)
    found = genkit.check(pipe, **SMALL[pipeline].arguments())
    assert [one.fact for one in found.wrong] == ["branches", "prompts"], found
    with pytest.raises(genkit.UsageError, match=says):
        found.require()


def test_a_layer_that_bypasses_attention_is_named() -> None:
    pipe = SMALL["WanPipeline"].build()
    pipe.transformer.blocks[1].attn1.forward = lambda hidden, *rest: hidden
    refused(
        pipe,
        "WanPipeline",
        "transformer.layers",
        r"blocks\.1\.attn1 \(self\) never called scaled_dot_product_attention \(1 such\)",
    )


def test_an_answer_that_is_never_the_same_is_said_so() -> None:
    pipe, count = SMALL["WanPipeline"].build(), iter(range(100))
    pipe.transformer.register_forward_hook(lambda module, args, out: (out[0] * (1 + 0.01 * next(count)),))
    found = genkit.check(pipe, **SMALL["WanPipeline"].arguments())
    assert [one.fact for one in found.wrong][:2] == ["identity", "removal"]
    assert "does it depend on anything but its arguments?" in found.wrong[0].found
