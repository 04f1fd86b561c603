"""A model whose class or facts the tests of this package do not know is looked at in its first forward, once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import families
import pytest
import torch
from small_pipelines import SMALL
from torch import Tensor

import genkit
from genkit.attention.facts import known as known_models
from genkit.attention.facts.known import is_tested
from genkit.pipelines import known
from genkit.pipelines.matching import is_tested_pipeline
from genkit.plugins import catalogue

LOOKED = "the facts of transformer were compared with its first forward"
UNSEEN = "the facts of transformer were used as they are, without a look at what it does"


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(known_models, "_BY_CLASS", dict(known_models._BY_CLASS))
    monkeypatch.setattr(known, "_REGISTERED", dict(known._REGISTERED))


def wan(subclass: bool = True) -> Any:
    pipe = families.FAMILIES["wan"]()
    pipe.set_progress_bar_config(disable=True)
    if subclass:
        pipe.transformer.__class__ = type("MyTransformer", (type(pipe.transformer),), {})
    return pipe


def video(pipe: Any) -> Tensor:
    return torch.as_tensor(pipe(**families.call_arguments("wan")).frames)


def forwards(pipe: Any) -> list[None]:
    """A list that grows as each forward enters the first block."""
    count: list[None] = []
    pipe.transformer.blocks[0].register_forward_pre_hook(lambda *_: count.append(None))
    return count


def test_what_is_compared_in_the_tests_of_this_package_is_not_compared_again() -> None:
    pipe = wan(subclass=False)
    assert is_tested(pipe.transformer) and is_tested_pipeline(pipe)
    count = forwards(pipe)
    video(pipe)
    plain = len(count)
    for check in (True, False):
        with genkit.apply(pipe, check=check) as handle:
            video(pipe)
            assert handle.receipts[-1].notes == ()
    assert len(count) == 3 * plain


def test_a_subclass_is_looked_at_once_and_computes_the_same() -> None:
    pipe = wan()
    plain, count = video(pipe), forwards(pipe)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    with genkit.apply(pipe) as handle:
        assert torch.equal(video(pipe), plain)
        looked = len(count)
        assert [note for note in handle.receipts[-1].notes if note.startswith(LOOKED)]
        assert torch.equal(video(pipe), plain)
        assert handle.receipts[-1].notes == () and len(count) - looked < looked
        assert set(handle.session.run.routed.values()) == {4}
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(video(pipe), plain)


def test_without_a_look_the_receipt_of_each_video_says_so() -> None:
    pipe = wan()
    with genkit.apply(pipe, check=False) as handle:
        for _ in range(2):
            video(pipe)
            assert handle.receipts[-1].notes == (UNSEEN,)


@pytest.mark.parametrize("plugin", ["windows:window=3,stride=2", "sliding-tile:tile=2x2x2,window=9x9x9,min_tokens=1"])
def test_it_is_looked_at_under_plug_ins_too(plugin: str) -> None:
    pipe = wan()
    with genkit.apply(pipe, catalogue.parse(plugin)) as handle:
        assert torch.isfinite(video(pipe)).all()
        assert [note for note in handle.receipts[-1].notes if note.startswith(LOOKED)]


def offloaded(pipe: Any) -> None:
    pipe.enable_model_cpu_offload(device="cpu")


def compiled(pipe: Any) -> None:
    pipe.transformer = torch.compile(pipe.transformer, backend="eager")


def cast_by_layer(pipe: Any) -> None:
    pipe.transformer.enable_layerwise_casting(storage_dtype=torch.bfloat16, compute_dtype=torch.float32)


@pytest.mark.parametrize("prepared", [offloaded, compiled, cast_by_layer])
def test_it_is_looked_at_as_the_pipeline_runs_it(prepared: Callable[[Any], None]) -> None:
    pipe = wan()
    prepared(pipe)
    plain = video(pipe)
    with genkit.apply(pipe) as handle:
        torch.testing.assert_close(video(pipe), plain, atol=1e-5, rtol=0)
        assert [note for note in handle.receipts[-1].notes if note.startswith(LOOKED)]
        torch.testing.assert_close(video(pipe), plain, atol=1e-5, rtol=0)
    torch.testing.assert_close(video(pipe), plain, atol=1e-5, rtol=0)


def test_replaced_facts_are_looked_at_and_wrong_ones_leave_the_pipeline_as_it_was() -> None:
    pipe = wan(subclass=False)
    plain, own = video(pipe), known_models.OURS[0]
    genkit.register(replace(own, layers={"self": r"blocks\.\d+\.attn[12]"}), replace=True)
    assert not is_tested(pipe.transformer)
    sentence = (
        r"the facts of Wan 2\.1 are wrong in transformer\.layers: blocks\.0\.attn2 \(self\): its 60 queries read 512 "
        r"keys that are not the same tokens; it is cross; correct them, or pass check=False to apply\(\) to use them"
    )
    with pytest.raises(genkit.UsageError, match=sentence), genkit.apply(pipe) as handle:
        handle.generate("a red circle", num_frames=17, height=48, width=64, num_inference_steps=2)
    assert torch.equal(video(pipe), plain) and "_genkit_handle" not in vars(pipe)


@pytest.mark.parametrize(
    ("pipeline", "facts", "branches", "says"),
    [
        ("WanVideoToVideoPipeline", "wan-v2v", "names", "2 forwards of a step have no name, and the facts say 'names'"),
        ("LTXPipeline", "ltx", "names", "each forward has 2 branches in its batch, and the facts say 'names'"),
        ("WanPipeline", "wan", "halves", "each step has 2 forwards of one branch, and the facts say 'halves'"),
    ],
)
def test_branches_that_come_in_another_way_are_refused_in_the_second_step(
    pipeline: str, facts: str, branches: Any, says: str
) -> None:
    pipe = SMALL[pipeline].build()
    pipe.set_progress_bar_config(disable=True)
    pipe.__class__ = type("MyPipeline", (type(pipe),), {})
    with genkit.apply(pipe):
        SMALL[pipeline].video(pipe)
    genkit.register(replace(known._REGISTERED[facts], branches=branches), replace=True)
    with pytest.raises(genkit.UsageError, match=f"are wrong in branches: {says}"), genkit.apply(pipe):
        SMALL[pipeline].video(pipe)
    with genkit.apply(pipe, check=False) as handle:
        SMALL[pipeline].video(pipe)
        assert UNSEEN in handle.receipts[-1].notes
