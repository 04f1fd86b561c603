"""The decode seam and StreamDecode in whole pipelines: the same video, nothing left behind, nothing passed by."""

import copy
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import diffusers
import families
import numpy as np
import pytest
import torch
from live_bytes import LiveBytes
from tree import TOP

import genkit
from genkit.decoding import kinds
from genkit.errors import GenkitError, NotFiniteError, UsageError
from genkit.generation.decode_seam import gathered
from genkit.generation.preview import preview
from genkit.plugins import catalogue
from genkit.plugins.contract import Parts

EVERY = families.FAMILIES | families.VARIANTS
ROUNDED = {"mochi", "animatediff", "text_to_video_sd"}
"""Where convolutions run at another length or batch; all others are the same bit for bit."""
STREAM = genkit.StreamDecode()


def sizes(name: str, **changes: Any) -> dict[str, Any]:
    return {key: value for key, value in families.sizes(name).items() if "prompt" not in key} | changes


def made(pipe: Any, *plugins: Any, name: str = "wan", **changes: Any) -> Any:
    with genkit.apply(pipe, *plugins) as handle:
        return handle.generate("a red circle", **sizes(name, seed=1, **changes))


@pytest.fixture
def wan() -> Any:
    return families.FAMILIES["wan"]()


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Latent frames of each video that was streamed."""
    lengths: list[int] = []
    own = kinds.KINDS["AutoencoderKLWan"]

    def seen(vae: Any, z: torch.Tensor, *more: Any) -> Any:
        lengths.append(z.shape[2])
        return own(vae, z, *more)

    monkeypatch.setitem(kinds.KINDS, "AutoencoderKLWan", seen)
    return lengths


@pytest.mark.parametrize("name", EVERY)
def test_every_family_makes_the_same_video_and_is_left_as_it_was(name: str) -> None:
    pipe = EVERY[name]()
    plain = made(pipe, name=name)
    parts = [dict(vars(module)) for module in pipe.vae.modules()]
    events: list[Any] = []
    streamed = made(pipe, STREAM, name=name, on_event=events.append)
    assert streamed.frames.shape == plain.frames.shape
    tolerance = 1 / 255 if name in ROUNDED else 0
    assert np.abs(streamed.frames - plain.frames).max() <= tolerance
    assert sum(event.stage == "decode" for event in events) > 1, "each piece is an event"
    assert [dict(vars(module)) for module in pipe.vae.modules()] == parts
    assert np.array_equal(made(pipe, name=name).frames, plain.frames)
    assert streamed.receipt.plugins == ("stream-decode",)


@pytest.mark.parametrize("name", families.FAMILIES)
def test_beside_a_plugin_of_another_seam_it_changes_nothing_more(name: str) -> None:
    other = catalogue.parse("freenoise:window=2,stride=1" if name != "hunyuan" else "radial:min_tokens=1,dense_steps=0")
    pipe = EVERY[name]()
    alone, both = made(pipe, other, name=name), made(pipe, other, STREAM, name=name)
    assert np.abs(alone.frames - both.frames).max() <= (1 / 255 if name in ROUNDED else 0)


def test_another_pipeline_around_the_same_autoencoder_decodes_as_without(wan: Any, streams: list[int]) -> None:
    other = diffusers.WanPipeline(**wan.components)
    other.set_progress_bar_config(disable=True)
    before = np.asarray(other(**families.call_arguments("wan", output_type="np")).frames)
    with genkit.apply(wan, STREAM) as handle:
        assert np.array_equal(np.asarray(other(**families.call_arguments("wan", output_type="np")).frames), before)
        with torch.no_grad():
            wan.vae.decode(torch.zeros(1, 4, 2, 6, 8))  # by hand, in no pipeline
        assert streams == []
        handle.generate("a red circle", **sizes("wan", seed=1))
    assert streams == [5]


@pytest.mark.parametrize("first_out", [0, 1])
def test_two_pipelines_may_stream_with_one_autoencoder_and_leave_it_in_any_order(
    wan: Any, streams: list[int], first_out: int
) -> None:
    other = diffusers.WanPipeline(**wan.components)
    other.set_progress_bar_config(disable=True)
    handles = [genkit.apply(wan, STREAM), genkit.apply(other, STREAM)]
    for handle in handles:
        handle.generate("a red circle", **sizes("wan", seed=1))
    assert streams == [5, 5]
    handles[first_out].remove()
    handles[1 - first_out].generate("a red circle", **sizes("wan", seed=1))
    assert streams == [5, 5, 5]
    handles[1 - first_out].remove()
    assert "_decode" not in vars(wan.vae)


def test_a_video_that_was_decoded_without_it_is_an_error(wan: Any) -> None:
    with genkit.apply(wan, STREAM) as handle:
        wan.vae = copy.deepcopy(wan.vae)
        del wan.vae.__dict__["_decode"]
        with pytest.raises(
            GenkitError, match="stream-decode was asked for, but the pipeline decoded its latents without"
        ):
            handle.generate("a red circle", **sizes("wan", seed=1))


def test_where_latents_are_asked_for_there_is_nothing_to_decode(wan: Any) -> None:
    with genkit.apply(wan, STREAM) as handle:
        wan(**families.call_arguments("wan", output_type="latent"))
        assert "latents were asked for" in " ".join(handle.session.run.notes)
        wan(**families.call_arguments("wan", output_type="np"))
        assert not handle.session.run.notes


def test_an_exception_between_two_pieces_leaves_nothing_behind(wan: Any) -> None:
    plain = made(wan)

    def stop(event: Any) -> None:
        if event.stage == "decode" and len(seen := stops) == 2:
            raise KeyboardInterrupt(seen)
        stops.extend([event] * (event.stage == "decode"))

    stops: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        made(wan, STREAM, on_event=stop)
    assert "_decode" not in vars(wan.vae)
    assert np.array_equal(made(wan).frames, plain.frames)


@pytest.mark.parametrize("name", ["wan", "cogvideox"])
def test_slicing_and_tiling_stay_as_the_user_has_set_them(name: str) -> None:
    pipe = EVERY[name]()
    pipe.vae.enable_slicing()
    pipe.vae.enable_tiling(*((32, 32, 16, 16) if name == "wan" else (32, 32)))
    arguments = families.call_arguments(name, output_type="np", prompt=["a red circle", "a blue square"])
    arguments["negative_prompt"] = ["blue", "red"]
    plain = np.asarray(pipe(**arguments).frames)
    arguments["generator"] = torch.Generator().manual_seed(7)
    with genkit.apply(pipe, STREAM):
        streamed = np.asarray(pipe(**arguments).frames)
    assert np.array_equal(plain, streamed) and len(plain) == 2
    assert pipe.vae.use_slicing and pipe.vae.use_tiling


def test_frames_that_are_not_finite_are_still_seen(wan: Any) -> None:
    wan.vae.decoder.conv_out.weight.data.fill_(float("nan"))
    with pytest.raises(NotFiniteError, match="NaN in the frames"):
        made(wan, STREAM)


def test_an_autoencoder_that_cannot_be_cut_is_refused_as_it_is_applied_and_before_it_decodes() -> None:
    pipe = EVERY["hunyuan"]()
    pipe.vae.use_framewise_decoding = False
    with pytest.raises(UsageError, match="asks AutoencoderKLHunyuanVideo to decode all frames at once"):
        genkit.apply(pipe, STREAM)
    assert "_decode" not in vars(pipe.vae) and "_genkit_handle" not in vars(pipe)
    pipe.vae.use_framewise_decoding = True
    with genkit.apply(pipe, STREAM) as handle:
        pipe.vae.use_framewise_decoding = False
        with pytest.raises(UsageError, match="set it to True, or leave stream-decode out"):
            handle.generate("a red circle", **sizes("hunyuan", seed=1))
        assert not handle.session.run.came, "before any work"


def test_a_copy_of_the_pipeline_decodes_by_itself(wan: Any, streams: list[int]) -> None:
    with genkit.apply(wan, STREAM):
        other = copy.deepcopy(wan)
        assert np.array_equal(made(other).frames, made(families.FAMILIES["wan"]()).frames)
    assert streams == []


def test_the_preview_of_the_embedded_model_is_not_the_decoding_of_its_video() -> None:
    pipe = genkit.load("tiny")
    with genkit.apply(pipe, STREAM) as handle:
        preview(pipe, torch.zeros(1, pipe.vae.config.z_dim, 3, 4, 4), 16)
        assert not handle.session.run.came


@dataclass(frozen=True)
class Changed:
    """A plan that changes the pixels that come by."""

    name: str
    change: Any
    streams: bool = False
    claims: ClassVar[frozenset[str]] = frozenset()

    def parts(self, target: Any) -> Parts:
        return Parts(decode=self)

    def check(self, vae: Any) -> None: ...

    def wrap(self, decode: Any, vae: Any) -> Any:
        return lambda *given: (self.change(piece) for piece in decode(*given))


def test_the_first_listed_plan_is_the_innermost(wan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genkit.generation.sampling.text_of", lambda plugin: plugin.name)
    half, bright = Changed("half", lambda pixels: pixels / 2), Changed("bright", lambda pixels: pixels * 0 + 0.5)
    assert made(wan, half, bright).frames.min() == 0.75
    assert made(wan, bright, half, STREAM).frames.min() < 0.5, "StreamDecode decodes itself, so it comes first"
    assert made(wan, STREAM, bright, half).frames.max() == 0.625


def test_pieces_are_put_one_after_the_other_whatever_was_expected() -> None:
    pieces = [torch.full((1, 3, count, 1, 1), float(count)) for count in (1, 4, 2)]
    for expected in (1, 5, 7, 9):
        assert torch.equal(gathered(iter(pieces), 2, expected), torch.cat(pieces, 2)), expected
    images = [torch.zeros(2, 3, 4, 4, dtype=torch.bfloat16), torch.ones(1, 3, 4, 4, dtype=torch.bfloat16)]
    assert (
        torch.equal(gathered(iter(images), 0, 3), torch.cat(images))
        and gathered(iter(images), 0, 3).device.type == "cpu"
    )


def peak(vae: Any, frames: int, decode: Any) -> int:
    """The most bytes that live while a video of so many pixel frames is decoded, beside its finished frames."""
    z = torch.zeros(1, vae.config.z_dim, 1 + (frames - 1) // 4, 4, 4)
    with torch.no_grad(), LiveBytes() as live:
        pixels = decode(z)
    return live.peak - pixels.numel() * pixels.element_size()


@pytest.mark.slow
def test_the_memory_of_decoding_is_flat_in_length() -> None:
    """Wan's autoencoder with all its blocks, narrow: 129 and 513 frames, beside the finished frames."""
    vae = diffusers.AutoencoderKLWan(base_dim=4, z_dim=4, latents_mean=[0.0] * 4, latents_std=[1.0] * 4).eval()

    def streamed(z: torch.Tensor) -> torch.Tensor:
        pieces = genkit.StreamDecode().parts(None).decode.wrap(None, vae)(z)
        return gathered(pieces, 2, 1 + (z.shape[2] - 1) * 4)

    short, long = peak(vae, 129, streamed), peak(vae, 513, streamed)
    assert abs(long - short) <= 0.1 * short
    at_once = [peak(vae, frames, lambda z: vae.decode(z).sample) for frames in (33, 129)]
    assert at_once[1] > 2 * at_once[0], "without it, more frames take more"


def test_the_example_of_the_documentation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (TOP / "docs" / "seams" / "decode.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    exec(compile(code, "decode.md", "exec"), {"__name__": "example"})  # noqa: S102
    assert capsys.readouterr().out.strip().endswith(code.rpartition("# ")[2].strip())
