"""Arguments of a pipeline's call: each is served, named in the recipe, or refused in a sentence before any work."""

import inspect
import json
import math
from types import SimpleNamespace
from typing import Any

import diffusers
import families
import numpy as np
import pytest
import torch
from PIL import Image

import genkit
from genkit.apps.cli import main
from genkit.checks.options import CHECKS, OWN, check_options, to_json
from genkit.making import check_request
from genkit.plugins.prompts.timeline import Timeline
from genkit.request import Request

SMALL = {"num_frames": 5, "height": 48, "width": 64, "num_inference_steps": 2, "max_sequence_length": 16, "seed": 3}
PROMPT = "a red circle"


@pytest.fixture(scope="module")
def wan() -> Any:
    return families.FAMILIES["wan"]()


PIPELINES = sorted({type(build()).__name__ for build in families.FAMILIES.values()})


def parameters(pipeline: str) -> list[inspect.Parameter]:
    call = inspect.signature(getattr(diffusers, pipeline).__call__).parameters.values()
    return [entry for entry in call if entry.name != "self" and entry.kind is not entry.VAR_KEYWORD]


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_argument_of_every_pipeline_has_been_decided_on(pipeline: str) -> None:
    """A newer diffusers may bring another one: decide in ``genkit.checks.options`` what it may be, or refuse it."""
    undecided = [entry.name for entry in parameters(pipeline) if entry.name not in {"prompt", *CHECKS}]
    assert undecided == []


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_no_default_of_a_pipeline_is_refused(pipeline: str) -> None:
    for entry in parameters(pipeline):
        if entry.name not in {"prompt", *OWN} and entry.default not in (None, entry.empty):
            CHECKS[entry.name](entry.name, entry.default)


WRONG: dict[str, list[Any]] = {
    "whole": [1.5, math.nan, True, "5", [5], "", "\ud800", np.float32(5), np.bool_(True), torch.tensor(1.5), b"5", {}],
    "real": [math.nan, math.inf, -math.inf, True, "5", " ", [1.0], 10**400, np.float32("nan"), torch.tensor(math.nan)],
    "text": [5, True, b"blue", ["blue"], ["blue", 5], ("a", "b"), {"a": 1}, "a\0b", "\udcff", math.nan],
    "tensor": [5, "latents", [1.0], np.zeros((1, 2)), None.__class__, torch.tensor([[math.nan]]), torch.zeros(2, 3)],
    "mapping": [5, "a=1", [1], {1: 2}, True],
    "function": [5, "print", [print], int, True],
}
KIND = {
    "whole": "num_frames height width num_inference_steps max_sequence_length decode_chunk_size callback_steps "
    "num_videos_per_prompt clip_skip",
    "real": "guidance_scale guidance_scale_2 true_cfg_scale guidance_rescale eta",
    "text": "negative_prompt prompt_2 negative_prompt_2",
    "tensor": "latents prompt_embeds negative_prompt_embeds pooled_prompt_embeds prompt_attention_mask",
    "mapping": "attention_kwargs cross_attention_kwargs prompt_template",
    "function": "callback_on_step_end callback",
}
CASES = [(name, value) for kind, names in KIND.items() for name in names.split() for value in WRONG[kind]]
OTHERS = [
    ("num_videos_per_prompt", 2), ("num_videos_per_prompt", np.int64(3)), ("num_inference_steps", 0), ("height", -16),
    ("clip_skip", -1), ("guidance_scale", -1.0), ("use_dynamic_cfg", 1), ("use_dynamic_cfg", "true"),
    ("sigmas", []), ("sigmas", [1.0, math.nan]), ("sigmas", "1,2"), ("timesteps", [True]), ("timesteps", [[1]]),
    ("decode_timestep", "x"), ("decode_timestep", [0.1, None]), ("callback_on_step_end_tensor_inputs", "latents"),
    ("callback_on_step_end_tensor_inputs", [1]), ("ip_adapter_image", 5), ("ip_adapter_image", "image.png"),
    ("attention_kwargs", {"scale": math.nan}), ("attention_kwargs", {"scale": object()}), ("a_new_one", object()),
    ("a_new_one", math.inf), ("a_new_one", {"a": [math.nan]}), *((name, "latent") for name in OWN),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), CASES + OTHERS, ids=lambda value: str(value)[:20])
def test_what_cannot_be_is_one_sentence_that_names_the_argument(name: str, value: Any) -> None:
    with pytest.raises(genkit.UsageError) as caught:
        check_options({name: value})
    assert str(caught.value).startswith(name) and "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize(("name", "value"), CASES + OTHERS, ids=lambda value: str(value)[:20])
def test_it_is_refused_before_a_model_is_opened(name: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genkit.making.load", lambda *words, **options: pytest.fail("the model was opened"))
    with pytest.raises((genkit.UsageError, ValueError)):
        asked = {name: value} if name in Request.model_fields else {"options": {name: value}}
        lax = name in Request.model_fields and isinstance(value, str) and value.strip().isdigit()
        genkit.make(Request(prompt=PROMPT, **asked) if not lax else Request(prompt=5))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--guidance-scale nan", "guidance_scale=nan must be a finite number of at least 0"),
        ("--guidance-scale inf", "guidance_scale=inf must be a finite number"),
        ("--set guidance_scale=nan", "guidance_scale=nan must be a finite number"),
        ("--set fps=nan", "fps=nan must be a finite number"),
        ("--fps 0", "fps=0.0 must be a number of frames per second between 0.1 and 1000"),
        ("--steps 0", "num_inference_steps=0 must be a whole number of at least 1"),
        ("--num-frames -5", "num_frames=-5 must be a whole number of at least 1"),
        ("--set num_videos_per_prompt=2", "num_videos_per_prompt=2 would make more videos than one"),
        ("--set output_type=latent", "output_type='latent' cannot be used: genkit decodes the frames itself"),
        (
            "--set generator=7",
            "generator=7 cannot be used: .* give seed, your own latents, or generators to generate_many",
        ),
        ("--set return_dict=false", "return_dict=False cannot be used"),
        ("--set frame_rate=30", "frame_rate=30 cannot be used: genkit calls it fps"),
        ("--set latents=[[1]]", "latents=.* must be a torch tensor, which only Python can pass"),
        ("--set callback_on_step_end=print", "callback_on_step_end='print' must be a function"),
        ("--set eta=NaN", "eta=nan must be a finite number"),
        ("--seed 18446744073709551616", r"seed=18446744073709551616 must be a whole number from 0 to 2\*\*64 - 1"),
        ("--seed -2", "seed=-2 must be a whole number"),
        ("--with radial --with radial", "radial and radial cannot be combined"),
    ],
)
def test_the_command_line_refuses_before_a_model_is_opened(
    words: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path
) -> None:
    monkeypatch.setattr("genkit.making.load", lambda *words, **options: pytest.fail("the model was opened"))
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "a", *words.split()]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    import re

    assert re.match(f"genkit: {sentence}", said.err), said.err


@pytest.mark.parametrize("prompt", ["", " \n", "a\0b", "caf\udce9", 5, None, b"a", [], [5], {"prompt": "a"}, math.nan])
def test_prompts_that_say_nothing_or_are_no_text(wan: Any, prompt: Any) -> None:
    with genkit.apply(wan) as handle:
        with pytest.raises(genkit.UsageError, match="prompt") as caught:
            handle.generate(prompt, **SMALL)
        assert "\n" not in str(caught.value) and not handle.session.run.routed
    with genkit.apply(wan, Timeline()) as handle, pytest.raises(genkit.UsageError, match="prompt|event"):
        handle.generate(prompt, **SMALL)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"fps": "24"}, "fps='24' must be a number of frames per second between 0.1 and 1000"),
        ({"fps": math.nan}, "fps=nan must be a number"),
        ({"fps": True}, "fps=True must be a number"),
        ({"fps": [24]}, r"fps=\[24\] must be a number"),
        ({"num_frames": "17"}, "num_frames='17' must be a whole number"),
        ({"num_frames": 17.0}, "num_frames=17.0 must be a whole number"),
        ({"num_frames": -3}, "num_frames=-3: Wan 2.1 makes .*the nearest is 1"),
        ({"num_frames": 10**5000}, "num_frames=a number of .* bits"),
        ({"num_inference_steps": 1001}, "num_inference_steps=1001: the maximum is 1000"),
        ({"on_event": "print"}, "on_event='print' must be a function"),
        ({"negative_prompt": ["blue", "green"]}, "negative_prompt=.* must be a text; make one video for each"),
        ({"latents": torch.zeros(1, 4, 2, 6, 9)}, r"latents have shape \[1, 4, 2, 6, 9\], but 5 frames of 48x64 begin"),
        ({"prompt_embeds": torch.zeros(1, 16, 32)}, "the prompt 'a red circle' and prompt_embeds both say"),
        ({"kwargs": 5}, "WanPipeline has no argument 'kwargs'"),
    ],
)
def test_wrong_values_of_the_library_are_one_sentence_before_anything_runs(
    wan: Any, changes: dict[str, Any], sentence: str
) -> None:
    with genkit.apply(wan) as handle:
        with pytest.raises(genkit.UsageError, match=sentence) as caught:
            handle.generate(**{"prompt": PROMPT} | SMALL | changes)
        assert "\n" not in str(caught.value) and not handle.session.run.routed


def test_numbers_of_numpy_and_torch_are_numbers(wan: Any) -> None:
    plain = genkit.generate(wan, PROMPT, **SMALL, fps=12.0, guidance_scale=5.0)
    numpys = SMALL | {"num_frames": np.int64(5), "height": np.int32(48), "seed": np.uint8(3)}
    numpys |= {"num_inference_steps": torch.tensor(2), "guidance_scale": np.float32(5), "fps": torch.tensor(12.0)}
    video = genkit.generate(wan, PROMPT, **numpys)
    assert np.array_equal(video.frames, plain.frames) and video.request == plain.request
    request = Request(prompt=PROMPT, num_frames=np.int64(17), guidance_scale=np.float32(2), seed=np.int64(5))  # type: ignore[arg-type]
    assert json.loads(request.model_dump_json(exclude_unset=True)) == {
        "prompt": PROMPT, "num_frames": 17, "guidance_scale": 2.0, "seed": 5,
    }  # fmt: skip


@pytest.mark.parametrize(("field", "value"), [("num_frames", True), ("fps", False), ("seed", True), ("height", -1)])
def test_the_schema_of_a_request_refuses_what_is_no_number(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{field}={value} must be a"):
        Request(prompt=PROMPT, **{field: value})


NO_REQUESTS = [
    ({}, "the request has no prompt; give one"),
    ({"prompt": 5}, "prompt=5 must be a text, or a list of events"),
    ({"prompt": ["a", "b"]}, "prompt=.'a', 'b'. must be a text, or a list of events as mappings"),
    ({"prompt": "a", "sed": 3}, "a request has no field 'sed'; did you mean 'seed'"),
    ({"prompt": "a", "seed": 2**70}, r"seed=1180591620717411303424 must be a whole number from 0 to 2\*\*64 - 1"),
    ({"prompt": "a", "num_frames": 17.5}, "num_frames=17.5 cannot be used: input should be a valid integer"),
    ({"prompt": "a", "fps": "x" * 300}, "fps='x+... cannot be used: input should be a valid number"),
    ({"prompt": "a", "dtype": "bf16"}, "dtype='bf16' cannot be used: input should be 'float32', 'float16' or"),
    ({"prompt": "a", "options": {"seed": 3}}, "options contains 'seed', which is a field of the request; set it there"),
    ({"prompt": "a", "plugins": "radial"}, "plugins='radial' must be a list of texts such as 'radial:density=0.3'"),
    ({"prompt": "a", "plugins": [genkit.Radial()]}, "plugins=.Radial.* must be a list of texts"),
]


@pytest.mark.parametrize(("fields", "sentence"), NO_REQUESTS, ids=lambda value: str(value)[:30])
def test_a_request_that_cannot_be_is_one_sentence_however_it_is_made(fields: dict[str, Any], sentence: str) -> None:
    ways = [lambda: Request(**fields), lambda: Request.model_validate(fields)]
    ways.append(lambda: Request(prompt="a").model_copy(update=fields) if fields else Request())
    if "Radial" not in str(fields):
        ways.append(lambda: Request.model_validate_json(json.dumps(fields)))
    for make in ways:
        with pytest.raises(genkit.UsageError, match=f"^{sentence}") as caught:
            make()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_a_request_is_what_opens_the_model_and_what_is_called() -> None:
    """Together with prompt and plug-ins, each field is in exactly one of the two, and the request comes back."""
    given: dict[str, Any] = {"num_frames": 17, "guidance_scale": 3.0, "seed": 5, "eta": 0.5}
    request = Request(
        prompt="a", plugins=("pab",), device="cpu", options={"eta": 0.5}, num_frames=17, guidance_scale=3, seed=5
    )
    assert {name: value for name, value in request.arguments().items() if value is not None} == given
    named = [*request.opening(), *request.arguments(), "prompt", "plugins", "options"]
    assert sorted(named) == sorted([*Request.model_fields, "eta"])
    fields = request.opening() | {"prompt": "a", "plugins": ("pab",)}
    assert Request.of_call(request.arguments(), **fields) == request


@pytest.mark.parametrize("text", ["5", "[]", "{", ""])
def test_what_is_no_mapping_is_no_request(text: str) -> None:
    with pytest.raises(genkit.UsageError, match="a request is a mapping of fields, in JSON an object, and .* is none"):
        Request.model_validate_json(text)


@pytest.mark.parametrize("name", ["wan", "mochi", "cogvideox", "ltx", "hunyuan", "animatediff", "text_to_video_sd"])
def test_latents_of_the_callers_own_act_and_are_named_by_their_hash(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = families.FAMILIES[name]()
    asked = {key: value for key, value in families.sizes(name).items() if key not in ("prompt", "negative_prompt")}
    seen: list[torch.Tensor] = []
    prepare = type(pipe).prepare_latents
    with monkeypatch.context() as patch:
        drawn = lambda *words, **named: seen.append(prepare(*words, **named)) or seen[-1]  # noqa: E731
        patch.setattr(type(pipe), "prepare_latents", drawn)
        plain = genkit.generate(pipe, PROMPT, seed=3, **asked)
    own = genkit.generate(pipe, PROMPT, seed=99, latents=seen[-1].clone(), **asked)
    assert np.allclose(own.frames, plain.frames, atol=1e-5), "the latents did not act"
    named = own.request["options"]["latents"]
    assert (
        named.startswith(f"tensor float32 {list(seen[-1].shape)} sha256:") and own.receipt.arguments["latents"] == named
    )
    other = genkit.generate(pipe, PROMPT, seed=99, latents=seen[-1] + 1e-3, **asked)
    assert other.request["options"]["latents"] != named
    with pytest.raises(genkit.UsageError, match="latents was given by a program .* no file contains it; pass it again"):
        check_request(Request.model_validate(own.request))
    with pytest.raises(genkit.UsageError, match="latents have shape"):
        genkit.generate(pipe, PROMPT, latents=seen[-1][..., 1:].clone(), **asked)


def test_embeddings_of_the_callers_own_act(wan: Any) -> None:
    embeds, negative = wan.encode_prompt(PROMPT, "", True, 1, max_sequence_length=16)
    plain = genkit.generate(wan, PROMPT, **SMALL)
    own = genkit.generate(wan, None, prompt_embeds=embeds, negative_prompt_embeds=negative, **SMALL)
    assert np.allclose(own.frames, plain.frames, atol=1e-5)
    assert set(own.request["options"]) == {"prompt_embeds", "negative_prompt_embeds", "max_sequence_length"}
    with (
        genkit.apply(wan, Timeline()) as handle,
        pytest.raises(genkit.UsageError, match="timeline needs the prompt as"),
    ):
        handle.generate(None, prompt_embeds=embeds, **SMALL)
    with pytest.raises(genkit.UsageError, match="prompt_embeds has shape .* its first axis must be 1"):
        genkit.generate(wan, None, prompt_embeds=embeds.repeat(2, 1, 1), **SMALL)


def test_images_and_functions_are_named() -> None:
    red, blue = (Image.new("RGB", (4, 3), colour) for colour in ("red", "blue"))
    names = [to_json("x", image) for image in (red, red.copy(), blue)]
    assert names[0] == names[1] != names[2] and names[0].startswith("image RGB 4x3 sha256:")
    assert to_json("x", [red, (1, 2.5, None, True, "a")]) == [names[0], [1, 2.5, None, True, "a"]]
    assert to_json("x", {"scale": np.float64(0.5), "n": np.int8(3)}) == {"scale": 0.5, "n": 3}
    assert to_json("f", to_json) == "function genkit.checks.options.to_json"
    assert to_json("f", SimpleNamespace().__repr__).startswith("function ")
    half = torch.tensor([1.0, 2.0], dtype=torch.bfloat16)
    assert to_json("t", half) != to_json("t", half.float()) and to_json("t", half) == to_json("t", half.clone())


@pytest.mark.parametrize("name", ["wan", "cogvideox", "text_to_video_sd"])
def test_a_callback_of_the_callers_acts_is_watched_and_is_named(name: str) -> None:
    pipe = families.FAMILIES[name]()
    asked = {key: value for key, value in families.sizes(name).items() if key not in ("prompt", "negative_prompt")}
    old, seen = name == "text_to_video_sd", []

    def modern(pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        seen.append(index)
        return {"latents": torch.zeros_like(tensors["latents"])}

    def late(index: int, timestep: Any, latents: torch.Tensor) -> None:
        seen.append(index)
        latents.zero_()

    option = {"callback": late} if old else {"callback_on_step_end": modern}
    events: list[Any] = []
    plain = genkit.generate(pipe, PROMPT, seed=3, **asked)
    video = genkit.generate(pipe, PROMPT, seed=3, on_event=events.append, **option, **asked)
    assert seen == list(range(asked["num_inference_steps"])) == [e.step - 1 for e in events if e.stage == "denoise"]
    assert not np.array_equal(video.frames, plain.frames), "what the callback changed did not act"
    (key,) = option
    assert video.request["options"][key].endswith("modern" if not old else "late")
    assert any(note.startswith(f"{key}: function ") for note in video.receipt.notes)
    assert json.loads(video.receipt.model_dump_json())["arguments"][key].startswith("function ")
    again = genkit.generate(pipe, PROMPT, seed=3, **asked)
    assert np.array_equal(again.frames, plain.frames)
    with pytest.raises(genkit.UsageError, match=f"{key}='function .* must be a function"):
        check_request(Request.model_validate(video.request))


@pytest.mark.parametrize("error", [ValueError("a"), RuntimeError("a"), KeyboardInterrupt("a"), StopIteration()])
@pytest.mark.parametrize("name", ["callback_on_step_end", "on_event"])
def test_what_a_function_of_the_callers_raises_is_seen_as_it_is(wan: Any, name: str, error: BaseException) -> None:
    def raising(*words: Any) -> Any:
        raise error

    with pytest.raises(type(error)) as caught:
        genkit.generate(wan, PROMPT, **SMALL, **{name: raising})
    assert caught.value is error


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [(5, "returned 5; return a dict"), ({"latents": torch.zeros(1)}, "returned latents=.* must keep their shape")],
)
def test_what_a_callback_may_return(wan: Any, returned: Any, sentence: str) -> None:
    with pytest.raises(genkit.UsageError, match=f"function .*{sentence}"):
        genkit.generate(wan, PROMPT, **SMALL, callback_on_step_end=lambda *words: returned)
    plain = genkit.generate(wan, PROMPT, **SMALL)
    looking = genkit.generate(wan, PROMPT, **SMALL, callback_on_step_end=lambda *words: None)
    assert np.array_equal(plain.frames, looking.frames)


def test_a_callback_gets_the_tensors_that_it_asks_for(wan: Any) -> None:
    seen: list[set[str]] = []

    def looking(pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        seen.append(set(tensors))
        return {}

    option = {"callback_on_step_end": looking, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    genkit.generate(wan, PROMPT, **SMALL, **option)
    assert seen == [{"prompt_embeds"}] * 2
    with pytest.raises(genkit.UsageError, match="callback_on_step_end_tensor_inputs"):
        genkit.generate(wan, PROMPT, **SMALL, **option | {"callback_on_step_end_tensor_inputs": ["nothing"]})


def test_a_run_that_a_callback_ends_is_said_to_be_unfinished(wan: Any) -> None:
    def stopping(pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        pipe._interrupt = True
        return {}

    video = genkit.generate(wan, PROMPT, **SMALL, callback_on_step_end=stopping)
    assert "the run was ended after step 1 of 2, so the video is unfinished" in video.receipt.notes


def test_a_negative_prompt_that_is_cut_off_is_said(wan: Any) -> None:
    video = genkit.generate(wan, PROMPT, **SMALL, negative_prompt="blue " * 30)
    assert any(note.startswith("the negative prompt has 3") and "reads 16" in note for note in video.receipt.notes)


@pytest.mark.parametrize(
    ("name", "option", "sentence"),
    [
        (
            "wan",
            {"prompt": None, "prompt_embeds": torch.zeros(1, 16, 33)},
            "RuntimeError: .* with prompt_embeds=a T",
        ),
        (
            "animatediff",
            {"clip_skip": 99},
            "IndexError: .* with clip_skip=99; correct that",
        ),
        ("animatediff", {"ip_adapter_image": Image.new("RGB", (8, 8))}, "AttributeError: .* with ip_adapter_image="),
        (
            "cogvideox",
            {"latents": torch.zeros(1, 5, 4, 6, 8).half()},
            "RuntimeError: .* with latents=a Tensor",
        ),
    ],
)
def test_an_odd_failure_names_the_arguments_in_which_its_cause_may_lie(
    name: str, option: dict[str, Any], sentence: str
) -> None:
    asked = {key: value for key, value in families.sizes(name).items() if key not in ("prompt", "negative_prompt")}
    asked.pop("max_sequence_length", None)
    with pytest.raises(genkit.GenkitError, match=sentence) as caught:
        genkit.generate(families.FAMILIES[name](), **{"prompt": PROMPT} | asked | option)
    assert "\n" not in str(caught.value) and caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"num_frames": 1025},
            "num_frames=1025: the positions of this Wan 2.1 model end at 1021 frames",
        ),
        ({"height": 4112}, "height=4112: the positions of this Wan 2.1 model end at 4096; the nearest is 4096"),
        ({"width": 16384}, "width=16384: the positions of this Wan 2.1 model end at 4096"),
    ],
)
def test_positions_end_where_the_configuration_says(wan: Any, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(genkit.UsageError, match=sentence):
        genkit.generate(wan, PROMPT, **SMALL | changes)


def test_the_embedded_model_is_called_by_its_name() -> None:
    with pytest.raises(genkit.UsageError, match="num_frames=2049: the positions of the embedded model end at"):
        genkit.generate(genkit.load("tiny", device="cpu"), PROMPT, num_frames=2049)
