"""The hook: identical without rules, every layer routed, gone without a trace."""

from collections import Counter

import families
import numpy as np
import pytest
import torch
from family_facts import EXPECTED

import genkit
from genkit.attention.model.session import Session
from genkit.pipelines.matching import card_of

NAMES = list(families.FAMILIES)


def run(pipe, name):
    return np.asarray(pipe(**families.call_arguments(name)).frames)


def footprint(pipe):
    """Everything that a hook could leave behind: instance attributes of the pipeline and of every module."""
    models = {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}
    modules = {f"{n}.{m}": x for n, model in models.items() for m, x in model.named_modules()}
    left = {name: sorted(k for k in x.__dict__ if k in ("forward", "_genkit_hook")) for name, x in modules.items()}
    processors = {
        name: dict(x.processor.__dict__)
        for name, x in modules.items()
        if hasattr(getattr(x, "processor", None), "__dict__")
    }
    return left, {name: sorted(map(str, value)) for name, value in processors.items()}, sorted(pipe.__dict__)


@pytest.fixture(scope="module", params=NAMES)
def family(request):
    pipe = families.FAMILIES[request.param]()
    pipe.set_progress_bar_config(disable=True)
    return request.param, pipe, run(pipe, request.param)


def test_identity_is_bit_identical_and_leaves_no_trace(family):
    name, pipe, plain = family
    before = footprint(pipe)
    with genkit.apply(pipe) as handle:
        assert np.array_equal(run(pipe, name), plain)
        routed = dict(handle.session.run.routed)
    assert footprint(pipe) == before
    assert np.array_equal(run(pipe, name), plain)
    assert set(routed) == {f"{layer.component}.{layer.name}" for layer in handle.session.layers}


def test_every_layer_is_routed_as_often_as_the_family_calls_it(family):
    name, pipe, _ = family
    with genkit.apply(pipe) as handle:
        run(pipe, name)
        routed = handle.session.run.routed
    facts = EXPECTED[name]
    for layer in handle.session.layers:
        assert facts.kind(layer.name) == layer.kind
        forwards = len(facts.steps[layer.component]) * len(facts.branches)
        assert routed[f"{layer.component}.{layer.name}"] == forwards * facts.calls, layer.name
    found = Counter(layer.kind for layer in handle.session.layers if layer.component == next(iter(facts.steps)))
    assert found == {kind: sum(layers.values()) for kind, layers in facts.layers.items()}


def test_an_exception_inside_the_block_leaves_no_trace(family):
    name, pipe, plain = family
    before = footprint(pipe)
    with pytest.raises(RuntimeError, match="on purpose"), genkit.apply(pipe) as handle:
        handle.session.attends = dict.fromkeys(handle.session.attends, broken)
        run(pipe, name)
    assert footprint(pipe) == before
    assert np.array_equal(run(pipe, name), plain)


def broken(q, k, v, call):
    raise RuntimeError("on purpose")


def test_the_grid_is_the_familys_geometry(family):
    name, pipe, _ = family
    seen = {}
    expected = EXPECTED[name]
    with genkit.apply(pipe) as handle:
        inner = dict(handle.session.attends)

        def spy(kind):
            def attend(q, k, v, call):
                seen.setdefault(kind, []).append((call, q.shape, k.shape))
                return inner[kind](q, k, v, call)

            return attend

        handle.session.attends = {kind: spy(kind) for kind in inner}
        run(pipe, name)
    for kind, calls in seen.items():
        for call, q_shape, _ in calls:
            assert call.grid.frames == expected.frames
            assert q_shape[2] == call.grid.tokens, (kind, call.layer)
            assert (call.step.branches,) in [(b,) for b in expected.branches] or expected.calls > 1
            if kind in ("self", "joint"):
                assert (call.grid.rows, call.grid.cols) == (expected.rows, expected.cols)
            if kind == "joint":
                text = expected.text_of(call.step.branches)
                assert (call.grid.before, call.grid.after) == ((text, 0) if expected.text_first else (0, text))
        assert {call.step.index for call, *_ in calls} == set(range(calls[0][0].step.total))
        sigmas = [call.step.sigma for call, *_ in calls]
        assert all(0 < sigma <= 1 for sigma in sigmas) and sigmas == sorted(sigmas, reverse=True)


@pytest.mark.parametrize("name", NAMES)
def test_every_pipeline_has_a_card(name):
    pipe = families.FAMILIES[name]()
    card = card_of(pipe)
    assert {"wan": "wan", "wan22": "wan2.2", "hunyuan": "hunyuanvideo"}.get(name, card.family) == card.family


def test_an_unknown_family_is_refused_with_what_is_missing():
    class OtherPipeline:
        vae = None

    with pytest.raises(
        genkit.UsageError, match="nothing is known of OtherPipeline .it has no denoising model.*genkit.register"
    ):
        genkit.apply(OtherPipeline())


def test_a_layer_that_never_reaches_attention_is_named():
    pipe = families.FAMILIES["wan"]()
    pipe.set_progress_bar_config(disable=True)
    pipe.transformer.blocks[1].attn1.forward = lambda hidden, *rest: hidden
    with pytest.raises(RuntimeError, match=r"transformer\.blocks\.1\.attn1 never called"), genkit.apply(pipe):
        run(pipe, "wan")


def test_another_backend_is_used_for_dense_calls_and_given_back():
    pipe = families.FAMILIES["wan"]()
    pipe.set_progress_bar_config(disable=True)
    plain = run(pipe, "wan")
    for module in pipe.transformer.modules():
        if hasattr(module, "processor"):
            module.processor._attention_backend = "_native_math"
    with genkit.apply(pipe) as handle:
        out = run(pipe, "wan")
    assert set(handle.session.run.backends) == {"dense (_native_math)"}
    assert pipe.transformer.blocks[0].attn1.processor._attention_backend == "_native_math"
    np.testing.assert_allclose(out, plain, atol=2e-5)


def test_two_applies_are_refused_and_two_pipelines_share_nothing():
    one, two = families.FAMILIES["wan"](), families.FAMILIES["wan"]()
    with genkit.apply(one) as first, genkit.apply(two) as second:
        with pytest.raises(genkit.UsageError, match="already has plug-ins"):
            genkit.apply(one)
        one.set_progress_bar_config(disable=True)
        run(one, "wan")
        assert first.session.run.routed and not second.session.run.routed


def test_a_pipeline_without_matching_layers_is_refused():
    pipe = families.FAMILIES["wan"]()
    card = card_of(pipe)
    import dataclasses

    facts = dataclasses.replace(card.main, layers={"self": r"nothing\.like\.this"})
    other = dataclasses.replace(card, models={"transformer": facts})
    with pytest.raises(LookupError, match="no attention module of WanPipeline matches"):
        Session(pipe, other, []).install()


def test_compiled_model_computes_the_same():
    pipe = families.FAMILIES["wan"]()
    pipe.set_progress_bar_config(disable=True)
    plain = run(pipe, "wan")
    pipe.transformer = torch.compile(pipe.transformer, backend="eager")
    with genkit.apply(pipe) as handle:
        out = run(pipe, "wan")
        assert len(handle.session.run.routed) == len(handle.session.layers)
    np.testing.assert_allclose(out, plain, atol=1e-5)
