"""No file of data runs code: weights are read as numbers, and every reader that could do more is told not to."""

import ast
import inspect
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from tree import TOP

from genkit.benchmarks.networks.checkpoints import read_state
from genkit.benchmarks.networks.torchscript import read_torchscript
from genkit.errors import GenkitError

SOURCES = [
    path
    for folder in ("attention", "schedulers", "genkit", "benchmarks", "apps")
    for path in (TOP / folder).rglob("*.py")
]
MODELS_ALONE = ("PatchAutoencoder.from_pretrained", "type(part).from_pretrained")
"""diffusers' models as such know no code from elsewhere, and no argument for it."""
NEVER = (
    *("eval", "exec", "compile", "pickle.load", "pickle.loads", "pickle.Unpickler", "torch.jit.load", "torch.hub.load"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "marshal.loads", "shelve.open", "joblib.load", "dill.loads"),
    *("runpy.run_path", "shutil.unpack_archive", "np.load", "numpy.load"),
)
"""Readers that run what they read, or can be told to; ``.npz`` files are read array by array in ``clips.py``."""


def calls(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Each call of a file: the function as it is written, and its keywords."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {word.arg or "**": ast.unparse(word.value) for word in node.keywords}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(TOP).as_posix())
def test_every_reader_is_told_to_run_nothing(path: Path) -> None:
    for name, words in calls(path):
        assert name not in NEVER, f"{name} runs what a file holds"
        assert not name.endswith((".extractall", ".extract")), f"{name} writes where an archive says"
        assert words.get("allow_pickle", "False") == "False"
        if name == "torch.load":
            assert words.get("weights_only") == "True", "a pickle runs code"
        if name.endswith(".from_pretrained") and name not in MODELS_ALONE:
            assert words.get("trust_remote_code") == "False", f"{name} may run code of the folder"


class Inner(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3).to(dtype)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(x.to(self.layer.weight.dtype)).float())


class Outer(nn.Module):
    """Weights of several types and places, among attributes that are none."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.Sequential(Inner(torch.float32), Inner(torch.float64), Inner(torch.bfloat16))
        self.shared = self.parts[0]
        self.table = nn.Parameter(torch.arange(12.0).reshape(3, 4).t()[1:, ::2])
        self.register_buffer("counts", torch.arange(4))
        self.register_buffer("passing", torch.tensor(True), persistent=False)
        self.register_parameter("none", None)
        self.register_buffer("empty", torch.empty(0, 3, dtype=torch.uint8))
        self.plain = torch.ones(5)
        self.numbers, self.words, self.scale = [1, 2], ["a"], 0.5
        self.where, self.by_name = torch.device("cpu"), {"a": torch.ones(1)}

    def forward(self, x: Tensor) -> Tensor:
        return self.shared(self.parts(x)) * self.scale + self.plain.sum() + self.numbers[0] + self.by_name["a"]


def test_an_archive_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    for made in (torch.jit.script(Outer()), torch.jit.trace(Outer().eval(), torch.ones(2, 3))):
        torch.jit.save(made, path)
        true, found = torch.jit.load(path).state_dict(), read_torchscript(path)
        assert list(found) == list(true)
        assert all(found[name].dtype == true[name].dtype and torch.equal(found[name], true[name]) for name in true)


class Writes(nn.Module):
    """TorchScript that writes a file when its weights are put in place."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.path = path
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, str, bool]:
        return self.weight, self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, str, bool]) -> None:
        torch.save(state[0], state[1])
        self.weight, self.path, self.training = state[0], state[1], state[2]


def test_an_archive_that_would_write_a_file_writes_none(tmp_path: Path) -> None:
    path, written = tmp_path / "evil.pt", tmp_path / "written"
    try:
        torch.jit.save(torch.jit.script(Writes(str(written))), path)
    except RuntimeError as error:
        pytest.skip(f"this torch compiles no such thing: {error}")
    torch.jit.load(path)
    assert written.exists(), "torch's own loader runs it"
    written.unlink()
    with pytest.raises(
        GenkitError, match=r"evil.pt' cannot be read as a checkpoint: its class __torch__.* running code"
    ):
        read_state(path)
    assert not written.exists()


def forged(path: Path, pickled: bytes, **more: bytes) -> Path:
    """An archive with a pickle of one's own."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {"constants.pkl": b"", "data.pkl": pickled, **more}.items():
            archive.writestr(f"x/{name}", content)
    return path


class Runs:
    """Makes a folder when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.mkdir, (self.path,)


def test_a_forged_archive_runs_nothing(tmp_path: Path) -> None:
    evil = forged(tmp_path / "evil.pt", pickle.dumps(Runs(tmp_path / "made"), 2))
    with pytest.raises(GenkitError, match="it would load .*, which an archive of weights does not need"):
        read_state(evil)
    assert not (tmp_path / "made").exists()
    for name, pickled in (
        ("a", b""),
        ("b", b"\x80\x02N."),
        ("c", b"\x80\x02}."),
        ("d", b"(lp0\n."),
        ("e", b"\x80\x02X"),
    ):
        with pytest.raises(GenkitError, match=f"{name}.pt' cannot be read as a checkpoint: ."):
            read_state(forged(tmp_path / f"{name}.pt", pickled))


def test_tensors_that_are_larger_than_the_file_are_refused(tmp_path: Path) -> None:
    """In float32 they would take all memory: a few bytes that stand for 10**12 numbers."""
    torch.save({"a": torch.zeros(1, dtype=torch.float16).expand(10**6, 10**6)}, tmp_path / "wide.pth")
    with pytest.raises(GenkitError, match=r"'a' in .*wide.pth' has shape \(1000000, 1000000\) but fewer numbers"):
        read_state(tmp_path / "wide.pth")
    torch.save({"a": torch.zeros(3, 3).to_sparse()}, tmp_path / "sparse.pth")
    with pytest.raises(GenkitError, match="'a' in .*sparse.pth' is not an ordinary tensor|sparse.pth' cannot be read"):
        read_state(tmp_path / "sparse.pth")


def test_a_folder_of_a_model_brings_no_code(tmp_path: Path) -> None:
    """A pipeline class of the folder's own is refused in one sentence, and not imported."""
    import json

    from genkit.loading import load

    (tmp_path / "model_index.json").write_text(
        json.dumps({"_class_name": ["pipeline", "Mine"], "_diffusers_version": "0"})
    )
    (tmp_path / "pipeline.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Mine: pass\n")
    with pytest.raises(GenkitError, match="could not open .* as a diffusers pipeline"):
        load(str(tmp_path))
    assert not (tmp_path / "ran").exists()


def test_the_explicit_word_is_one_that_diffusers_knows() -> None:
    from diffusers import DiffusionPipeline

    assert "trust_remote_code" in inspect.getsource(DiffusionPipeline.from_pretrained.__func__)
