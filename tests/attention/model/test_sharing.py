"""One model in two pipelines, one pipeline in two threads, copies of either, parts that were replaced."""

import copy
import pickle
import threading
from typing import Any

import diffusers
import families
import numpy as np
import pytest
import torch

import genkit
from genkit.plugins.caches.methods import FirstBlockCache, PyramidAttentionBroadcast
from genkit.plugins.longer.freenoise import FreeNoise
from genkit.plugins.prompts.timeline import Timeline
from genkit.plugins.sparse.radial import Radial
from genkit.plugins.sparse.sliding_tile import SlidingTile

SIZES = {name: value for name, value in families.sizes("wan").items() if "prompt" not in name}
SPARSE = {"min_tokens": 1, "dense_steps": 0, "dense_layers": 0, "impl": "reference"}
RADIAL = Radial(density=0.5, block=16, **SPARSE)
TILES = SlidingTile(window=(1, 1, 1), tile=(1, 3, 2), block=16, **SPARSE)
CACHES = [
    FirstBlockCache(threshold=9.0),
    PyramidAttentionBroadcast(spatial_attention_timestep_skip_range=(-1, 1001)),
]
BUSY = "is already making a video.*wait for it, or give each thread its own pipeline"
REPLACED = r"pipe\.{} was replaced after apply\(\), so the plug-ins are not in it; call remove\(\) before replacing it"


@pytest.fixture
def pipe() -> Any:
    return families.FAMILIES["wan"]()


def made(handle: Any, **changes: Any) -> np.ndarray:
    return handle.generate("a red circle", **(SIZES | {"seed": 1} | changes)).frames


def plain(pipe: Any) -> np.ndarray:
    """The pipeline's own call."""
    arguments = families.call_arguments("wan")
    return np.asarray(pipe(**arguments).frames)


def twin(pipe: Any) -> Any:
    """A second pipeline around the same models."""
    other = diffusers.WanPipeline(**pipe.components)
    other.set_progress_bar_config(disable=True)
    return other


@pytest.mark.parametrize("plugin", [RADIAL, TILES, FreeNoise(window=2, stride=1), *CACHES], ids=lambda x: x.name)
def test_a_second_pipeline_around_the_same_models_computes_as_without_plugins(pipe: Any, plugin: Any) -> None:
    other = twin(pipe)
    before = plain(other)
    with genkit.apply(pipe, plugin) as handle:
        inside = made(handle)
        record = copy.deepcopy(handle.session.run.routed)
        assert np.array_equal(plain(other), before)
        assert handle.session.run.routed == record
        assert np.array_equal(made(handle), inside)
    assert not np.array_equal(made(genkit.apply(other)), inside)


@pytest.mark.parametrize("first_out", [0, 1])
def test_two_pipelines_around_the_same_models_have_their_own_plugins(pipe: Any, first_out: int) -> None:
    pipes = pipe, twin(pipe)
    plugins = [RADIAL, Timeline()], [TILES]
    before = sorted(vars(pipe.transformer)), sorted(vars(pipe.transformer.blocks[0].attn1))
    want = []
    for mine, inside in zip(pipes, plugins, strict=True):
        with genkit.apply(mine, *inside) as handle:
            want.append(made(handle))
    handles = [genkit.apply(mine, *inside) for mine, inside in zip(pipes, plugins, strict=True)]
    for number in (0, 1, 0):
        assert np.array_equal(made(handles[number]), want[number])
    handles.pop(first_out).remove()
    assert np.array_equal(made(handles[0]), want[1 - first_out])
    handles[0].remove()
    assert before == (sorted(vars(pipe.transformer)), sorted(vars(pipe.transformer.blocks[0].attn1)))


def test_a_shared_model_takes_one_step_cache(pipe: Any) -> None:
    with genkit.apply(pipe, CACHES[0]) as handle:
        want = made(handle)
        with pytest.raises(genkit.UsageError, match="the transformer of this pipeline already has a cache"):
            genkit.apply(twin(pipe), CACHES[1])
        assert np.array_equal(made(handle), want)


def test_a_model_called_without_any_pipeline_has_the_plugins(pipe: Any) -> None:
    pipe.scheduler.set_timesteps(2)
    latents, text = torch.ones(1, 4, 5, 6, 8), torch.ones(1, 8, pipe.transformer.config.text_dim)
    given = {"hidden_states": latents, "timestep": pipe.scheduler.timesteps[:1], "encoder_hidden_states": text}
    with torch.no_grad(), genkit.apply(pipe, RADIAL) as handle:
        pipe.transformer(**given)
        assert handle.session.run.densities["radial"]


def test_a_shallow_copy_of_a_pipeline_computes_as_without_plugins(pipe: Any) -> None:
    before = plain(pipe)
    with genkit.apply(pipe, RADIAL, FreeNoise(window=2, stride=1)):
        assert np.array_equal(plain(copy.copy(pipe)), before)


def threads(*work: Any) -> list[BaseException | None]:
    """Run each in a thread of its own, the next when the one before has said that it is under way."""
    errors: list[BaseException | None] = [None] * len(work)

    def run(number: int, started: threading.Event) -> None:
        try:
            work[number](started)
        except BaseException as error:
            errors[number] = error
        finally:
            started.set()

    running = []
    for number in range(len(work)):
        started = threading.Event()
        running.append(threading.Thread(target=run, args=(number, started)))
        running[-1].start()
        assert started.wait(60)
    for thread in running:
        thread.join(60)
    return errors


@pytest.mark.parametrize("second", ["generate", "call", "apply", "generate without plug-ins"])
def test_a_second_thread_is_told_at_once_and_the_first_is_unharmed(pipe: Any, second: str) -> None:
    results, done = [], threading.Event()
    with genkit.apply(pipe, RADIAL, FreeNoise(window=2, stride=1)) as handle:
        want = made(handle)

        def first(started: threading.Event) -> None:
            def wait(event: Any) -> None:
                started.set()
                assert done.wait(60)

            results.append(made(handle, on_event=wait))

        def other(started: threading.Event) -> None:
            try:
                {
                    "generate": lambda: made(handle, seed=2),
                    "call": lambda: plain(pipe),
                    "apply": lambda: genkit.apply(pipe, TILES),
                    "generate without plug-ins": lambda: genkit.generate(pipe, "a red circle", **SIZES),
                }[second]()
            finally:
                done.set()

        errors = threads(first, other)
    assert errors[0] is None and np.array_equal(results[0], want)
    with pytest.raises(genkit.GenkitError, match=BUSY):
        raise errors[1] or AssertionError("it was let in")


def test_a_call_of_the_pipeline_keeps_other_threads_out_until_it_ends_however_it_ends(pipe: Any) -> None:
    done = threading.Event()
    with genkit.apply(pipe, RADIAL) as handle:
        want = made(handle)

        def fail(pipe: Any, *given: Any) -> Any:
            begun.set()
            assert done.wait(60)
            raise KeyboardInterrupt

        def first(started: threading.Event) -> None:
            nonlocal begun
            begun = started
            pipe(**families.call_arguments("wan"), callback_on_step_end=fail)

        def other(started: threading.Event) -> None:
            try:
                made(handle)
            finally:
                done.set()

        begun = threading.Event()
        errors = threads(first, other)
        assert isinstance(errors[0], KeyboardInterrupt) and isinstance(errors[1], genkit.GenkitError)
        assert threads(lambda started: made(handle)) == [None]
        assert np.array_equal(made(handle), want)


def test_a_callback_that_makes_another_video_is_refused(pipe: Any) -> None:
    with genkit.apply(pipe) as handle:
        with pytest.raises(genkit.GenkitError, match=BUSY):
            made(handle, on_event=lambda event: made(handle))
        made(handle)


@pytest.mark.parametrize("plugin", [TILES, RADIAL, *CACHES], ids=lambda plugin: plugin.name)
def test_two_threads_with_a_pipeline_each_around_one_model(pipe: Any, plugin: Any) -> None:
    other = twin(pipe)
    other.scheduler = copy.deepcopy(pipe.scheduler)
    other.tokenizer = copy.deepcopy(pipe.tokenizer)  # a fast tokenizer may be in one thread only ("Already borrowed")
    results: dict[str, list[np.ndarray]] = {"changed": [], "plain": []}
    before = plain(other)
    with genkit.apply(pipe, plugin) as handle:
        want = made(handle)
        errors = threads(
            lambda started: (started.set(), results["changed"].extend(made(handle) for _ in range(2))),
            lambda started: (started.set(), results["plain"].extend(plain(other) for _ in range(2))),
        )
    assert errors == [None, None]
    assert all(np.array_equal(video, want) for video in results["changed"])
    assert all(np.array_equal(video, before) for video in results["plain"])


def test_plugins_that_another_thread_removes_leave_no_video(pipe: Any) -> None:
    handle = genkit.apply(pipe, RADIAL)
    with pytest.raises(genkit.GenkitError, match="the plug-ins were removed while the video was being made"):
        made(handle, on_event=lambda event: handle.remove())


def copies(thing: Any) -> list[Any]:
    return [copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))]


@pytest.mark.parametrize("plugins", [(), (RADIAL, Timeline()), (TILES,), (FreeNoise(window=2, stride=1),)])
def test_a_copy_of_a_pipeline_is_a_plain_one(pipe: Any, plugins: tuple[Any, ...]) -> None:
    before = plain(pipe)
    with genkit.apply(pipe, *plugins) as handle:
        want = made(handle)
        for other in copies(pipe):
            record = dict(handle.session.run.routed)
            assert np.array_equal(plain(other), before)
            with torch.no_grad():
                for weight in other.transformer.parameters():
                    weight.zero_()
            assert not np.array_equal(plain(other), before), "it computes with the original's weights"
            with genkit.apply(other, RADIAL) as again:
                made(again)
            assert dict(handle.session.run.routed) == record
        assert np.array_equal(made(handle), want)
    assert np.array_equal(plain(pipe), before)


def test_a_copy_of_a_model_is_a_plain_one(pipe: Any) -> None:
    other = families.FAMILIES["wan"]()
    before = plain(other)
    with genkit.apply(pipe, TILES):
        assert b"genkit" not in pickle.dumps(pipe.transformer)
        for model in copies(pipe.transformer):
            other.transformer = model
            assert np.array_equal(plain(other), before)
            for module in model.modules():
                assert getattr(vars(module).get("forward"), "__self__", module) is module


def test_plugins_are_not_copied_without_their_pipeline(pipe: Any) -> None:
    with (
        genkit.apply(pipe, RADIAL) as handle,
        pytest.raises(genkit.GenkitError, match="cannot be copied; copy the pipe"),
    ):
        copy.deepcopy([handle])


def files_in(folder: Any) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_saved_inside_is_the_plain_pipeline(pipe: Any, tmp_path: Any) -> None:
    pipe.save_pretrained(tmp_path / "before")
    with genkit.apply(pipe, TILES, FreeNoise(window=2, stride=1)):
        pipe.save_pretrained(tmp_path / "inside")
        before, inside = (files_in(tmp_path / name) for name in ("before", "inside"))
        assert before == inside and "transformer/config.json" in before
        other = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "inside")
        other.set_progress_bar_config(disable=True)
        np.testing.assert_allclose(plain(other), plain(families.FAMILIES["wan"]()), atol=1e-5)
        other = diffusers.WanVideoToVideoPipeline.from_pipe(pipe)
        assert not {"prepare_latents", "encode_prompt", "_genkit_handle"} & set(vars(other))


@pytest.mark.parametrize("copied", [copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("plugin", CACHES, ids=lambda plugin: plugin.name)
def test_a_model_with_a_step_cache_in_it_is_not_copied(pipe: Any, plugin: Any, copied: Any) -> None:
    with genkit.apply(pipe, plugin):
        for thing in (pipe, pipe.transformer):
            with pytest.raises(genkit.GenkitError, match=f"a model with {plugin.name} in it cannot be copied"):
                copied(thing)
    assert copied(pipe)


@pytest.mark.parametrize("plugins", [(), (RADIAL,), (Timeline(),), (CACHES[0],)])
def test_a_replaced_model_is_refused_before_the_first_step(pipe: Any, plugins: tuple[Any, ...]) -> None:
    other, own = families.FAMILIES["wan"]().transformer, pipe.transformer
    other.forward = None  # it must not be called
    with genkit.apply(pipe, *plugins) as handle:
        want = made(handle)
        pipe.transformer = other
        with pytest.raises(genkit.GenkitError, match=REPLACED.format("transformer")):
            made(handle)
        with pytest.raises(genkit.GenkitError, match=REPLACED.format("transformer")):
            plain(pipe)
        pipe.transformer = own
        assert np.array_equal(made(handle), want)
        pipe.transformer = None
        with pytest.raises(genkit.GenkitError, match=REPLACED.format("transformer")):
            made(handle)
    pipe.transformer = own
    plain(pipe)


def test_a_replaced_layer_is_refused_too(pipe: Any) -> None:
    with genkit.apply(pipe, RADIAL) as handle:
        pipe.transformer.blocks[1].attn1 = copy.deepcopy(pipe.transformer.blocks[1].attn1)
        with pytest.raises(genkit.GenkitError, match=REPLACED.format(r"transformer\.blocks\.1\.attn1")):
            made(handle)


def test_a_model_replaced_in_a_callback_leaves_no_video(pipe: Any) -> None:
    other = families.FAMILIES["wan"]().transformer
    with genkit.apply(pipe, RADIAL) as handle, pytest.raises(genkit.GenkitError, match=REPLACED.format("transformer")):
        made(handle, on_event=lambda event: setattr(pipe, "transformer", other))


def test_a_second_expert_that_was_added_is_no_part_of_it_and_one_that_was_there_is() -> None:
    pipe = families.FAMILIES["wan22"]()
    with genkit.apply(pipe, RADIAL) as handle:
        made(handle)
        pipe.transformer_2 = families.FAMILIES["wan"]().transformer
        with pytest.raises(genkit.GenkitError, match=REPLACED.format("transformer_2")):
            made(handle)


@pytest.mark.parametrize("when", ["before", "inside"])
def test_a_compiled_model_that_was_assigned_is_the_same_model(pipe: Any, when: str) -> None:
    with genkit.apply(pipe, RADIAL) as handle:
        want = made(handle)
    if when == "before":
        pipe.transformer = torch.compile(pipe.transformer, backend="eager")
    with genkit.apply(pipe, RADIAL) as handle:
        if when == "inside":
            pipe.transformer = torch.compile(pipe.transformer, backend="eager")
        assert np.array_equal(made(handle), want)
        assert np.array_equal(made(handle), want)
        with pytest.raises(genkit.UsageError, match="width=70: Wan 2.1 makes multiples of 16"):
            made(handle, width=70)
