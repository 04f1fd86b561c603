"""Every video pipeline of diffusers takes plug-ins: bit for bit as before with none, and routed in every layer.

Each is the real class with small random parts. What cannot work is refused with its reason.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from small_pipelines import MODULAR, SMALL, class_of
from torch import Tensor

import genkit
from genkit.pipelines.matching import card_of

REFUSED: dict[str, str] = {
    "AnyFlowFARPipeline": "in FlexAttention, chunk by chunk with a block mask of its own",
    "WanAnimate2ModularPipeline": "in FlexAttention with a block mask of its own",
    "WanAnimate2DistilledModularPipeline": "in FlexAttention with a block mask of its own",
    "Kandinsky6SRPipeline": "its attention is sparse already: FlexAttention with a block mask",
    "TextToVideoZeroPipeline": "a softmax that is written out",
    "TextToVideoZeroSDXLPipeline": "a softmax that is written out",
}
"""Small pipelines that no plug-in can work in, each with a part of the reason that is given."""
DENSE: dict[str, str] = {"LTX2InContextPipeline-strength": "mask .* torch.float32 is not a key padding mask"}
"""Small pipelines that sparse methods leave dense in every call, each with a part of the reason in the receipt."""
SPARSE = "threshold:tau=1,block=8,min_tokens=1,dense_steps=0,dense_layers=0"
FULL = "radial:density=1,block=8,min_tokens=1,dense_steps=0,dense_layers=0"
ALL = {**SMALL, **MODULAR}
ACCEPTED = sorted(set(ALL) - set(REFUSED))


@pytest.fixture(scope="module", params=ACCEPTED)
def case(request: pytest.FixtureRequest) -> Iterator[tuple[str, Any, Tensor]]:
    """A pipeline, and its video without us; tests leave the pipeline as it was."""
    small = ALL[request.param]
    pipe = small.build()
    yield request.param, pipe, small.video(pipe)


def video(name: str, pipe: Any, *plugins: str) -> tuple[Tensor, Any]:
    """The video with plug-ins, and the record of the run."""
    with genkit.apply(pipe, *map(genkit.plugins.catalogue.parse, plugins)) as handle:
        return ALL[name].video(pipe), handle.session.run


def test_it_computes_as_before_with_no_plug_in_and_after_removal(case: tuple[str, Any, Tensor]) -> None:
    name, pipe, plain = case
    routed, run = video(name, pipe)
    assert torch.equal(routed, plain), "routing alone changed the video"
    assert torch.equal(ALL[name].video(pipe), plain), "something stayed behind"
    assert run.routed and all(count > 0 for count in run.routed.values())


def test_every_call_has_the_tokens_that_its_facts_say(case: tuple[str, Any, Tensor]) -> None:
    """A wrong volume, or other tokens on the wrong side, shows where a kept density of 1 is not the dense video."""
    name, pipe, plain = case
    if not card_of(pipe).kinds & {"self", "joint"}:
        pytest.skip("its attention along time and inside frames is apart: sparse methods do not act there")
    full, run = video(name, pipe, FULL)
    if name in DENSE:
        assert torch.equal(full, plain) and not run.densities
        assert all(re.search(DENSE[name], reason) for _, reason in run.refusals) and run.refusals
        return
    assert not run.refusals, dict(run.refusals)
    assert (full.float() - plain.float()).abs().max() <= 1e-4 * plain.float().abs().max().clamp_min(1)
    sparse, run = video(name, pipe, SPARSE)
    assert torch.isfinite(sparse.float()).all() and run.densities["threshold"]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_work_is_refused_with_its_reason(name: str) -> None:
    with pytest.raises(genkit.UsageError, match=REFUSED[name]):
        genkit.apply(ALL[name].build())


def test_all_small_pipelines_are_of_a_class_of_diffusers() -> None:
    import diffusers

    assert all(hasattr(diffusers, class_of(name)) for name in ALL)
