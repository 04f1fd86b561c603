"""Memory and devices: refused before the run where it cannot fit, one sentence where it ended all the same."""

import re
from pathlib import Path
from typing import Any

import families
import pytest
import torch

import genkit
from genkit.apps.cli import main
from genkit.checks import fitting, memory
from genkit.checks.devices import check_device

SMALL = {"num_frames": 17, "height": 48, "width": 64, "num_inference_steps": 2, "max_sequence_length": 16, "seed": 3}
FULL = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 8 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError("Unable to allocate 3.64 TiB for an array with shape (1000000, 1000000) and data type float32"),
]


def asked(name: str) -> dict[str, Any]:
    return {key: value for key, value in families.sizes(name).items() if key not in ("prompt", "negative_prompt")}


@pytest.mark.parametrize("name", list(families.FAMILIES))
def test_what_cannot_fit_is_refused_before_anything_runs_with_what_would(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, size = families.FAMILIES[name](), asked(name)
    pixels = size["num_frames"] * size["height"] * size["width"] * 3
    with genkit.apply(pipe) as handle:
        monkeypatch.setattr(fitting, "free_bytes", lambda device: pixels * 8 * 0.75)
        with pytest.raises(
            genkit.UsageError, match=r"need .* GiB of memory on cpu or more, but .* GiB are free; "
        ) as it:
            handle.generate("a red circle", seed=1, **size)
        assert not handle.session.run.routed and "\n" not in str(it.value)
        fits = re.search(r"; (\d+) frames? would fit$", str(it.value))
        assert fits is not None and 0 < int(fits[1]) < size["num_frames"]
        handle.generate("a red circle", seed=1, **size | {"num_frames": int(fits[1])})
        monkeypatch.setattr(fitting, "free_bytes", lambda device: 10)
        with pytest.raises(genkit.UsageError, match="not even one frame of this size would fit, so make it smaller"):
            handle.generate("a red circle", seed=1, **size)


def test_frames_that_leave_a_gpu_piece_by_piece_need_no_room_there() -> None:
    pipe, device = families.FAMILIES["wan"](), torch.device("cuda")
    card, size = genkit.apply(pipe).card, {"num_frames": 4097, "height": 48, "width": 64}
    usual = fitting.needed_bytes(pipe, card, asked("wan") | size, size, device)
    streamed = fitting.needed_bytes(pipe, card, asked("wan") | size, size, device, streams=True)
    pixels = 4097 * 48 * 64 * 3
    assert usual == {"cuda": pixels * 4, "cpu": pixels * 4}
    assert streamed["cuda"] < pixels and streamed["cpu"] == pixels * 8


@pytest.mark.parametrize(
    "changes", [{"num_frames": 8 * 10**15 + 1}, {"height": 16 * 10**12}, {"num_frames": 4 * 10**9 + 1}]
)
def test_sizes_that_no_machine_holds_are_one_sentence(changes: dict[str, Any]) -> None:
    for name in ("wan", "cogvideox", "hunyuan", "mochi", "animatediff"):
        with pytest.raises(genkit.UsageError) as caught:
            genkit.generate(families.FAMILIES[name](), "a red circle", **asked(name) | changes)
        assert "\n" not in str(caught.value)


def test_free_memory_of_this_machine_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = fitting.free_bytes(torch.device("cpu"))
    assert free is None or 2**20 < free < 2**50
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\ninactive_file 150000\nactive_file 50000\n")
    groups = ((tmp_path / "memory.max", tmp_path / "memory.current"),)
    monkeypatch.setattr(memory, "GROUPS", groups)
    assert fitting.free_bytes(torch.device("cpu")) == 500000
    (tmp_path / "memory.max").write_text("max\n")
    assert fitting.free_bytes(torch.device("cpu")) != 500000
    assert fitting.free_bytes(torch.device("mps")) is None


@pytest.mark.parametrize("error", FULL, ids=lambda error: str(error)[:12])
@pytest.mark.parametrize(
    ("place", "when"),
    [
        ("text_encoder", "before the end of the first step"),
        ("transformer", "before the end of the first step"),
        ("decoder", "in decoding"),
    ],
)
def test_a_full_memory_is_one_sentence_with_the_stage(error: Exception, place: str, when: str) -> None:
    pipe = families.FAMILIES["wan"]()
    part = pipe.vae.decoder if place == "decoder" else getattr(pipe, place)

    def full(*words: Any) -> None:
        raise error

    hook = part.register_forward_pre_hook(full)
    with pytest.raises(
        genkit.GenkitError, match=f"the memory of cpu was full {when}, with 17 frames of 48x64"
    ) as caught:
        genkit.generate(pipe, "a red circle", **SMALL)
    assert not isinstance(caught.value, genkit.UsageError) and "\n" not in str(caught.value)
    assert "try less: 5 frames would fit, or a smaller height" in str(caught.value)
    hook.remove()
    assert genkit.generate(pipe, "a red circle", **SMALL).receipt.plugins == ()


def test_what_a_step_held_is_let_go() -> None:
    import gc
    import weakref

    pipe, held = families.FAMILIES["wan"](), []

    def full(module: Any, words: Any) -> None:
        big = torch.zeros(10)
        held.append(weakref.ref(big))
        raise torch.OutOfMemoryError("CUDA out of memory")

    pipe.transformer.register_forward_pre_hook(full)
    with pytest.raises(genkit.GenkitError, match="was full") as caught:
        genkit.generate(pipe, "a red circle", **SMALL)
    gc.collect()
    assert held[0]() is None and isinstance(caught.value.__cause__, torch.OutOfMemoryError)


def test_a_full_memory_while_a_model_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: Any, **options: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes.\nmore")

    monkeypatch.setattr("diffusers.DiffusionPipeline.from_pretrained", full)
    with pytest.raises(
        genkit.GenkitError, match="the memory of cpu was full when tiny was opened .*; try dtype="
    ) as it:
        genkit.load("tiny", device="cpu")
    assert "\n" not in str(it.value)


DEVICES = [
    ("banana", "device='banana' is not a device; use 'cpu', 'cuda'"),
    ("", "device='' is not a device"),
    ("cpu:-1", "device='cpu:-1' is not a device"),
    ("cuda:x", "device='cuda:x' is not a device"),
    (5, "device=5 is not a device"),
    (True, "device=True is not a device"),
    (["cpu"], r"device=\['cpu'\] is not a device"),
    ("meta", "device='meta' stores no numbers"),
    ("cpu:3", "device='cpu:3' was asked for, but there is only 'cpu'"),
    ("xla", "device='xla' was asked for, but PyTorch cannot use it here"),
    ("vulkan", "device='vulkan' was asked for, but PyTorch cannot use it here"),
]
if not torch.cuda.is_available():
    DEVICES += [("cuda:99", "device='cuda:99' was asked for, but PyTorch finds no CUDA device here")]


@pytest.mark.parametrize(("device", "message"), DEVICES)
def test_impossible_devices_are_refused_before_the_model_is_opened(
    device: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genkit.loading.open_pipeline", lambda *words: pytest.fail("the model was opened"))
    with pytest.raises(genkit.UsageError, match=message) as caught:
        genkit.load("tiny", device=device)
    assert "\n" not in str(caught.value)


def test_a_gpu_beyond_the_last_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert check_device("cuda:1") == "cuda:1" and check_device(None) == "cuda"
    with pytest.raises(genkit.UsageError, match="device='cuda:7' was asked for, but the last GPU here is 'cuda:1'"):
        check_device("cuda:7")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": 16}, "dtype=16 is unknown"),
        ({"dtype": torch.int8}, "dtype=torch.int8 is unknown"),
        ({"offload": "modle"}, "offload='modle' is unknown"),
        ({"offload": True}, "offload=True is unknown"),
        ({"attention_backend": "flsh"}, "attention_backend='flsh' is unknown to diffusers"),
        ({"attention_backend": 5}, "attention_backend=5 is unknown to diffusers"),
    ],
)
def test_how_a_model_is_opened_is_checked_first(
    options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genkit.loading.open_pipeline", lambda *words: pytest.fail("the model was opened"))
    with pytest.raises(genkit.UsageError, match=message):
        genkit.load("tiny", **options)


def test_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "a", "--device", "banana"]) == 2
    assert capsys.readouterr().err == "genkit: device='banana' is not a device; use 'cpu', 'cuda', 'cuda:1' or 'mps'\n"
    pipe = families.FAMILIES["wan"]()
    monkeypatch.setattr("genkit.making.load", lambda *words, **options: pipe)
    hook = pipe.transformer.register_forward_pre_hook(lambda *words: (_ for _ in ()).throw(MemoryError()))
    words = "--num-frames 5 --height 48 --width 64 --steps 1 --set max_sequence_length=16"
    assert main(["generate", "a", *words.split()]) == 1
    said = capsys.readouterr().err
    assert (
        said.startswith("genkit: the memory of cpu was full before the end of the first step") and said.count("\n") == 1
    )
    hook.remove()
    assert main(["generate", "a", *words.split(), "--set", "num_frames=400001"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("bom", [b"\xef\xbb\xbf", b""])
def test_a_byte_order_mark_is_no_part_of_prompts_and_budgets(bom: bytes, tmp_path: Path) -> None:
    from genkit.apps.commands.compare_plan import read_prompts
    from genkit.plugins.budget import Budget, load_budget

    (tmp_path / "prompts.txt").write_bytes(bom + b"a red circle\na blue square\n")
    assert read_prompts(tmp_path / "prompts.txt") == ["a red circle", "a blue square"]
    path = Budget(method="radial", layers={"transformer.a": {"density": 0.5}}).save(tmp_path / "budget.json")
    path.write_bytes(bom + path.read_bytes())
    assert load_budget(path).layers == {"transformer.a": {"density": 0.5}}


@pytest.mark.parametrize("text", ["a caf\xe9".encode("latin-1"), "a red circle".encode("utf-16"), b"\xff"])
def test_files_of_another_encoding_are_one_sentence(text: bytes, tmp_path: Path) -> None:
    from genkit.apps.commands.compare_plan import read_prompts
    from genkit.plugins.budget import load_budget

    (tmp_path / "file").write_bytes(text)
    with pytest.raises(genkit.UsageError, match="cannot read the prompts in .*: not UTF-8 text; save"):
        read_prompts(tmp_path / "file")
    with pytest.raises(ValueError, match="is not a budget: invalid JSON"):
        load_budget(tmp_path / "file")
