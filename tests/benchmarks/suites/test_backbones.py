"""Networks against their definitions written out, checkpoints of every kind, and where files are looked for."""

import hashlib
import math
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from vbench_networks import clip_checkpoint, dino_checkpoint

from genkit.benchmarks.networks import weight_files
from genkit.benchmarks.networks.borrowed import class_of
from genkit.benchmarks.networks.checkpoints import read_state
from genkit.benchmarks.networks.raft import raft_state
from genkit.benchmarks.networks.vit import clip_image_tower, clip_state, dino, dino_positions, dino_state
from genkit.benchmarks.networks.weight_files import RANDOM, Backbone, check_keys, resolve
from genkit.benchmarks.suites.vbench_networks import BACKBONES
from genkit.errors import GenkitError, UsageError

HEADS = 2
WIDTH = 64 * HEADS


# Networks


def attention(x: Tensor, qkv: tuple[Tensor, Tensor], out: tuple[Tensor, Tensor]) -> Tensor:
    """Multi-head attention of ``[B, N, C]`` by its definition."""
    q, k, v = F.linear(x, *qkv).unflatten(-1, (3, HEADS, 64)).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-1, -2) / 8).softmax(-1)
    return F.linear((weights @ v).transpose(1, 2).flatten(2), *out)


def norm(x: Tensor, state: dict[str, Tensor], name: str, eps: float) -> Tensor:
    return F.layer_norm(x, (WIDTH,), state[f"{name}.weight"], state[f"{name}.bias"], eps)


def pair(state: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    return state[f"{name}.weight"], state[f"{name}.bias"]


def dino_by_hand(state: dict[str, Tensor], image: Tensor, positions: Tensor) -> Tensor:
    """DINO's ViT of two blocks from its own checkpoint."""
    x = F.conv2d(image, *pair(state, "patch_embed.proj"), stride=16).flatten(2).transpose(1, 2)
    x = torch.cat([state["cls_token"].expand(len(x), -1, -1), x], 1) + positions
    for block in ("blocks.0", "blocks.1"):
        y = norm(x, state, f"{block}.norm1", 1e-6)
        x = x + attention(y, pair(state, f"{block}.attn.qkv"), pair(state, f"{block}.attn.proj"))
        y = F.gelu(F.linear(norm(x, state, f"{block}.norm2", 1e-6), *pair(state, f"{block}.mlp.fc1")))
        x = x + F.linear(y, *pair(state, f"{block}.mlp.fc2"))
    return norm(x, state, "norm", 1e-6)[:, 0]


def clip_by_hand(state: dict[str, Tensor], image: Tensor) -> Tensor:
    """CLIP's image tower of two blocks from OpenAI's checkpoint."""
    state = {name.removeprefix("visual."): value for name, value in state.items()}
    x = F.conv2d(image, state["conv1.weight"], stride=32).flatten(2).transpose(1, 2)
    x = torch.cat([state["class_embedding"].expand(len(x), 1, -1), x], 1) + state["positional_embedding"]
    x = norm(x, state, "ln_pre", 1e-5)
    for block in ("transformer.resblocks.0", "transformer.resblocks.1"):
        qkv = state[f"{block}.attn.in_proj_weight"], state[f"{block}.attn.in_proj_bias"]
        x = x + attention(norm(x, state, f"{block}.ln_1", 1e-5), qkv, pair(state, f"{block}.attn.out_proj"))
        y = F.linear(norm(x, state, f"{block}.ln_2", 1e-5), *pair(state, f"{block}.mlp.c_fc"))
        x = x + F.linear(y * torch.sigmoid(1.702 * y), *pair(state, f"{block}.mlp.c_proj"))
    return norm(x[:, 0], state, "ln_post", 1e-5) @ state["proj"]


def picture(height: int, width: int, count: int = 2) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("size", [(224, 224), (224, 392), (288, 224)], ids=str)
@torch.inference_mode()
def test_dino_is_its_definition(size: tuple[int, int]) -> None:
    state = dino_checkpoint(WIDTH)
    image = picture(*size)
    positions = dino_positions(state["pos_embed"], 16, *size)
    found = dino(state).eval()(image)
    torch.testing.assert_close(found, dino_by_hand(state, image, positions), atol=2e-5, rtol=1e-4)


@torch.inference_mode()
def test_clip_is_its_definition() -> None:
    state = clip_checkpoint(WIDTH, patch=32, out=48)
    image = picture(224, 224)
    found = clip_image_tower(state).eval()(image)
    assert found.shape == (2, 48)
    torch.testing.assert_close(found, clip_by_hand(state, image), atol=2e-5, rtol=1e-4)


def bicubic(values: list[float], at: float) -> float:
    """Cubic convolution with the parameter -3/4. Source: R. Keys, IEEE TASSP 29 (1981)."""
    total = 0.0
    for place in range(math.floor(at) - 1, math.floor(at) + 3):
        t = abs(at - place)
        weight = 1.25 * t**3 - 2.25 * t**2 + 1 if t <= 1 else -0.75 * (t**3 - 5 * t**2 + 8 * t - 4)
        total += weight * values[min(max(place, 0), len(values) - 1)]
    return total


def test_dino_reads_its_position_table_by_its_own_rule() -> None:
    """Column i of 24 reads place 14 (i + 1/2) / 24.1 - 1/2 of 14; by the size alone it would be 24 and not 24.1."""
    values = [math.sin(0.8 * place) for place in range(14)]
    table = torch.full((1, 1 + 14 * 14, 1), 99.0)
    table[0, 1:, 0] = torch.tensor(values).repeat(14)
    found = dino_positions(table, 16, 224, 392)
    assert found.shape == (1, 1 + 14 * 24, 1) and found[0, 0] == 99
    row = found[0, 1:, 0].view(14, 24)[7].tolist()
    assert row == pytest.approx([bicubic(values, 14 * (i + 0.5) / 24.1 - 0.5) for i in range(24)], abs=1e-5)
    by_size = [bicubic(values, 14 * (i + 0.5) / 24 - 0.5) for i in range(24)]
    assert max(abs(x - y) for x, y in zip(row, by_size, strict=True)) > 0.02
    assert dino_positions(table, 16, 224, 224) is table


@torch.inference_mode()
def test_the_hub_s_files_give_the_same_networks() -> None:
    state, image = dino_checkpoint(WIDTH), picture(224, 240, 1)
    hub = dino_state(state) | {"pooler.dense.weight": torch.zeros(WIDTH, WIDTH)}
    assert torch.equal(dino(hub).eval()(image), dino(state).eval()(image))
    state, image = clip_checkpoint(WIDTH), picture(224, 224, 1)
    hub = clip_state(state) | {"text_model.final_layer_norm.bias": torch.zeros(3), "logit_scale": torch.zeros(())}
    assert torch.equal(clip_image_tower(hub).eval()(image), clip_image_tower(state).eval()(image))


def test_a_key_too_few_or_too_many_is_an_error() -> None:
    state = dino_checkpoint(WIDTH)
    with pytest.raises(ValueError, match="missing keys: .*layernorm.bias"):
        dino({name: value for name, value in state.items() if name != "norm.bias"})
    with pytest.raises(ValueError, match=r"unexpected keys: extra \(1 in all\)"):
        dino(state | {"extra": torch.zeros(1)})


def official_raft() -> set[str]:
    """The names of RAFT's large network as its authors have them, from their classes."""
    names = set()
    for encoder in ("fnet", "cnet"):
        blocks = [f"{encoder}.layer{i}.{j}." for i in (1, 2, 3) for j in (0, 1)]
        convolutions = [f"{encoder}.conv1", f"{encoder}.conv2", *(f"{b}conv{n}" for b in blocks for n in (1, 2))]
        shortcuts = [f"{encoder}.layer{i}.0." for i in (2, 3)]
        convolutions += [f"{shortcut}downsample.0" for shortcut in shortcuts]
        names |= {f"{name}.{kind}" for name in convolutions for kind in ("weight", "bias")}
        if encoder == "cnet":  # batch norms; the instance norms of the other have no parameters
            norms = [f"{encoder}.norm1", *(f"{b}norm{n}" for b in blocks for n in (1, 2))]
            norms += [f"{shortcut}{name}" for shortcut in shortcuts for name in ("norm3", "downsample.1")]
            kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
            names |= {f"{name}.{kind}" for name in norms for kind in kinds}
    update = [f"encoder.{name}" for name in ("convc1", "convc2", "convf1", "convf2", "conv")]
    update += [f"gru.conv{gate}{n}" for gate in "zrq" for n in (1, 2)] + ["flow_head.conv1", "flow_head.conv2"]
    update += ["mask.0", "mask.2"]
    return names | {f"update_block.{name}.{kind}" for name in update for kind in ("weight", "bias")}


def torchvision_raft() -> set[str]:
    """The same names as torchvision has them, from its classes."""
    names = set()
    for encoder in ("feature_encoder", "context_encoder"):
        blocks = [f"{encoder}.layer{i}.{j}.convnormrelu{n}" for i in (1, 2, 3) for j in (0, 1) for n in (1, 2)]
        pairs = [f"{encoder}.convnormrelu", *blocks, *(f"{encoder}.layer{i}.0.downsample" for i in (2, 3))]
        names |= {f"{name}.{kind}" for name in [f"{p}.0" for p in pairs] for kind in ("weight", "bias")}
        names |= {f"{encoder}.conv.weight", f"{encoder}.conv.bias"}
        if encoder == "context_encoder":
            kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
            names |= {f"{p}.1.{kind}" for p in pairs for kind in kinds}
    motion = [f"motion_encoder.{n}.0" for n in ("convcorr1", "convcorr2", "convflow1", "convflow2", "conv")]
    motion += [f"recurrent_block.convgru{n}.conv{gate}" for gate in "zrq" for n in (1, 2)]
    motion += ["flow_head.conv1", "flow_head.conv2"]
    names |= {f"update_block.{name}.{kind}" for name in motion for kind in ("weight", "bias")}
    return names | {f"mask_predictor.{n}.{kind}" for n in ("convrelu.0", "conv") for kind in ("weight", "bias")}


def test_every_name_of_raft_is_mapped() -> None:
    state = {name: torch.zeros(1) for name in official_raft()}
    assert set(raft_state(state)) == torchvision_raft()
    ours = {name: torch.zeros(1) for name in torchvision_raft()}
    assert raft_state(ours) == ours


def run(script: str, folder: Path) -> str:
    """A fresh Python with ``folder`` first on its path."""
    code = f"import sys\nsys.path.insert(0, {str(folder)!r})\n{textwrap.dedent(script)}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_a_torchvision_without_its_operators_is_imported_all_the_same(tmp_path: Path) -> None:
    """A stand-in that asks for the operators as torchvision does, beside a torch that lacks them."""
    flow = tmp_path / "torchvision" / "models" / "optical_flow.py"
    flow.parent.mkdir(parents=True)
    flow.write_text("NAME = 'flow'\n")
    (flow.parent / "__init__.py").touch()
    ask = "import torch\n@torch.library.register_fake('torchvision::{0}')\ndef {0}(dets, scores, iou_threshold): ...\n"
    (tmp_path / "torchvision" / "__init__.py").write_text(ask.format("nms") + ask.format("qnms"))
    script = """
        from genkit.benchmarks.networks.raft import torchvision_flow
        print(torchvision_flow().NAME, torchvision_flow().NAME)
    """
    assert run(script, tmp_path) == "flow flow\n"


# Classes out of other packages


@pytest.fixture
def heavy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that cannot be imported as a whole, with a module that can."""
    package = tmp_path / "heavypackage"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('everything at once')\n")
    (package / "inner" / "net-S.py").write_text("from heavypackage.inner.parts import SIZE\nclass Net: size = SIZE\n")
    (package / "inner" / "parts.py").write_text("SIZE = 3\n")
    (package / "inner" / "broken.py").write_text("import absent_module_of_a_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    return package


def test_a_class_comes_without_its_package(heavy: Path) -> None:
    assert class_of("heavypackage", "heavypackage.inner.net-S", "Net").size == 3
    assert not [name for name in sys.modules if name.startswith("heavypackage")]
    with pytest.raises(GenkitError, match="Net of the installed heavypackage cannot be loaded: No module named 'abs"):
        class_of("heavypackage", "heavypackage.inner.broken", "Net")
    assert not [name for name in sys.modules if name.startswith("heavypackage")]
    with pytest.raises(GenkitError, match="the package absentpackage is not installed"):
        class_of("absentpackage", "absentpackage.net", "Net")


# Checkpoints


STATE = {"a": torch.tensor([1.0, 2.0]), "b.c": torch.tensor([[3]])}


@pytest.mark.parametrize(
    "held",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3, "optim": {"lr": np.float64(0.1), "step": np.int64(4)}},
        {f"module.{name}": value for name, value in STATE.items()},
        {"params": {name: value.half() if name == "a" else value for name, value in STATE.items()}},
    ],
    ids=["plain", "trainer", "parallel", "half"],
)
def test_checkpoints_as_people_store_them(held: dict[str, Any], tmp_path: Path) -> None:
    torch.save(held, tmp_path / "x.pth")
    found = read_state(tmp_path / "x.pth")
    assert set(found) == set(STATE) and found["a"].dtype == torch.float32
    assert all(torch.equal(found[name], value) for name, value in STATE.items())


def test_torchscript_and_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    module = torch.nn.Linear(2, 1).half()
    torch.jit.save(torch.jit.script(module), tmp_path / "clip.pt")
    found = read_state(tmp_path / "clip.pt")
    assert set(found) == {"weight", "bias"} and torch.equal(found["weight"], module.weight.detach().float())
    save_file(STATE, tmp_path / "x.safetensors")
    assert torch.equal(read_state(tmp_path / "x.safetensors")["a"], STATE["a"])


class Evil:
    """Would make a folder when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.mkdir, (self.path,)


def test_checkpoints_run_nothing_and_damage_is_told(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "config": Evil(tmp_path / "made")}, tmp_path / "evil.pth")
    with pytest.raises(GenkitError, match="evil.pth' cannot be read as a checkpoint: "):
        read_state(tmp_path / "evil.pth")
    assert not (tmp_path / "made").exists()
    for name, content in (("a.pth", b""), ("b.pth", b"no weights"), ("c.safetensors", b"short")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(GenkitError, match=f"{name}' cannot be read as a checkpoint: ."):
            read_state(tmp_path / name)
    for held in ([STATE["a"]], {"epoch": 3}, {1: STATE["a"]}):
        torch.save(held, tmp_path / "other.pth")
        with pytest.raises(GenkitError, match="contains no weights: they must be a mapping from names to tensors"):
            read_state(tmp_path / "other.pth")


# Where files are looked for


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without any cache; the folder of it."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("VBENCH_CACHE_DIR", raising=False)
    monkeypatch.delenv(weight_files.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(home / "torch"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda repository, file: None)
    return home


def toy(**changed: Any) -> Backbone:
    """A backbone that is a single layer."""
    facts: dict[str, Any] = {
        "key": "toy",
        "file": "toy.pth",
        "url": "https://example.org/toy.pth",
        "build": "genkit.benchmarks.networks.borrowed:aesthetic_head",
        "hub": (("some/toy", "model.safetensors"),),
        "caches": (("torch", "checkpoints/toy-other.pth"), ("vbench", "toys/toy.pth")),
    }
    return Backbone(**facts | changed)


def put(path: Path, number: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"weight": torch.full((1, 2), number), "bias": torch.zeros(1)}, path)
    return path


def test_the_order_of_the_places(nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each new place that is filled comes before those filled earlier."""
    assert resolve(toy()) is None
    drawn = resolve(toy(), allow_random=True)
    assert drawn is not None and drawn.random and drawn.identity == RANDOM == "random, seed 0"
    for place in (".cache/vbench/toys/toy.pth", "torch/checkpoints/toy-other.pth"):
        path = put(nowhere / place)
        assert resolve(toy(), allow_random=True).path == path  # type: ignore[union-attr]
    hub = put(tmp_path / "hub" / "model.bin")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda repository, file: str(hub))
    assert resolve(toy()).path == hub  # type: ignore[union-attr]
    monkeypatch.setenv(weight_files.FOLDER_VARIABLE, str(tmp_path / "own"))
    with pytest.raises(UsageError, match="GENKIT_BACKBONES='.*own' is not a folder; name the folder with"):
        resolve(toy())
    folder = put(tmp_path / "own" / "toy.pth")
    assert resolve(toy()).path == folder  # type: ignore[union-attr]
    explicit = put(tmp_path / "explicit.pth")
    assert resolve(toy(), explicit=explicit).path == explicit  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="there is no weight file '.*absent.pth' for toy"):
        resolve(toy(), explicit=tmp_path / "absent.pth")


def test_vbench_s_own_variable_moves_its_cache(nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "moved" / "toys" / "toy.pth")
    monkeypatch.setenv("VBENCH_CACHE_DIR", str(tmp_path / "moved"))
    assert resolve(toy()).path == path  # type: ignore[union-attr]


def test_a_file_under_the_published_name_must_be_the_published_one(nowhere: Path, tmp_path: Path) -> None:
    path = put(nowhere / ".cache" / "vbench" / "toys" / "toy.pth")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    found = resolve(toy(sha256=digest[:8]))
    assert found is not None and found.identity == digest and not found.random
    with pytest.raises(GenkitError, match="has sha256 .*, but the published file has 00ff.*; fetch it again from h"):
        resolve(toy(sha256="00ff"))
    assert resolve(toy(sha256="00ff"), explicit=path) is not None


def test_the_sentence_about_a_missing_file(nowhere: Path) -> None:
    assert toy().locate() == (
        "file toy.pth: put it into the folder of $GENKIT_BACKBONES or ~/torch/checkpoints/toy-other.pth or "
        "~/.cache/vbench/toys/toy.pth; published at https://example.org/toy.pth"
    )
    lacking = toy(packages=(("absentpackage", "absentpackage==1"), ("numpy", "numpy")))
    assert lacking.missing_packages() == ["package absentpackage: pip install absentpackage==1"]


def test_networks_are_loaded_once_by_their_content(nowhere: Path, tmp_path: Path) -> None:
    path = put(tmp_path / "toy.pth", 2.0)
    found = resolve(toy(), explicit=path)
    assert found is not None
    network = found.network()
    assert float(network(torch.ones(1, 2))) == 4 and found.network() is network
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    put(path, 3.0)
    assert float(found.network()(torch.ones(1, 2))) == 6


def test_drawn_weights_are_the_same_every_time_and_leave_the_seed_alone(nowhere: Path) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    drawn = resolve(toy(), allow_random=True)
    assert drawn is not None
    first = drawn.network().state_dict()["weight"]
    weight_files._network.cache_clear()
    assert torch.equal(drawn.network().state_dict()["weight"], first) and first.shape == (1, 768)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_is_no_checkpoint_of_the_network(nowhere: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1, 2), "bias": torch.zeros(1), "more": torch.zeros(1)}, tmp_path / "toy.pth")
    found = resolve(toy(), explicit=tmp_path / "toy.pth")
    assert found is not None
    with pytest.raises(GenkitError, match=r"toy.pth' is not a checkpoint of toy: .*Unexpected key.* \"more\""):
        found.network()
    lacking = resolve(toy(packages=(("absentpackage", "absentpackage"),)), explicit=tmp_path / "toy.pth")
    assert lacking is not None
    with pytest.raises(GenkitError, match="toy needs package absentpackage: pip install absentpackage"):
        lacking.network()


def test_keys_are_known() -> None:
    with pytest.raises(UsageError, match="there is no backbone 'dino'; did you mean 'dino-vitb16'"):
        check_keys({"dino": 1}, BACKBONES)
    assert all(math.isclose(len(b.sha256) % 8, 0) and b.url.startswith("https://") for b in BACKBONES.values())
