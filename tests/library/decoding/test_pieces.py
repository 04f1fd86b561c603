"""Each kind of autoencoder, piece by piece: the frames of decoding at once, tiled or not, at odd lengths."""

import family_parts
import pytest
import torch
from torch import Tensor

from genkit.decoding.cut import Cut, spans
from genkit.decoding.kinds import KINDS, pieces_of
from genkit.decoding.streaming import Streaming
from genkit.decoding.temporal_tiles import blended
from genkit.errors import GenkitError, UsageError
from genkit.tiny.autoencoder import PatchAutoencoder

LEVEL = 2 / 255
"""One level of 255 where pixels lie in [-1, 1]."""


def patches():
    vae = PatchAutoencoder()
    torch.nn.init.normal_(vae.components, std=0.1)
    return vae


CAUSAL = {
    "wan": (family_parts.wan_vae, 4),
    "wan22_5b": (family_parts.wan22_vae, 48),
    "cogvideox": (family_parts.cogvideox_vae, 4),
    "hunyuan": (family_parts.hunyuan_vae, 4),
}
"""The same calls of the decoder as at once, so the same bits; latent channels."""
ROUNDED = {"mochi": (family_parts.mochi_vae, 12), "image": (family_parts.image_vae, 4), "tiny": (patches, 32)}
"""The same numbers, in convolutions and products of another length."""
LENGTHS = (1, 2, 5, 8)
CUTS = [(False, None), (False, 3), (True, None)]
"""Tiled in space or not, and latent frames of a piece."""


def built(make, tiled=False):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = make()
    if tiled:
        vae.enable_tiling()
        for name in vars(vae).copy():
            if name.startswith(("tile_sample", "tile_latent")) and name.endswith(("height", "width", "size")):
                per_latent = 1 if "latent" in name else getattr(vae, "spatial_compression_ratio", 8)
                setattr(vae, name, (2 if "stride" in name else 4) * per_latent)
    return vae


def latents(vae, channels, frames):
    drawn = torch.randn(1, channels, frames, 2, 5, generator=torch.Generator().manual_seed(frames))
    return drawn[0].transpose(0, 1).contiguous() if type(vae).__name__ == "AutoencoderKL" else drawn


@torch.no_grad()
def both(vae, z, **cut) -> tuple[Tensor, Tensor]:
    """At once, and piece by piece."""
    pieces = [piece.clone() for piece in pieces_of(vae)(vae, z, Cut(**cut))]
    return vae._decode(z).sample, torch.cat(pieces, dim=2 if z.ndim == 5 else 0)


@pytest.mark.parametrize(("tiled", "frames"), CUTS)
@pytest.mark.parametrize("name", CAUSAL)
def test_a_cache_taken_along_gives_the_same_frames_bit_for_bit(name, tiled, frames):
    make, channels = CAUSAL[name]
    vae = built(make, tiled)
    for length in LENGTHS:
        at_once, streamed = both(vae, latents(vae, channels, length), frames=frames)
        assert torch.equal(at_once, streamed), length


@pytest.mark.parametrize(("tiled", "frames"), CUTS)
@pytest.mark.parametrize("name", ROUNDED)
def test_the_other_exact_ways_differ_by_rounding(name, tiled, frames):
    if name == "tiny" and tiled:
        pytest.skip("the embedded autoencoder has no tiles")
    make, channels = ROUNDED[name]
    vae = built(make, tiled)
    for length in LENGTHS:
        at_once, streamed = both(vae, latents(vae, channels, length), frames=frames)
        assert at_once.shape == streamed.shape
        torch.testing.assert_close(streamed, at_once, rtol=0, atol=1e-4 * float(at_once.abs().max()))


def test_mochis_batches_that_know_nothing_of_one_another_stay_so_where_the_user_asked_for_them():
    vae = built(family_parts.mochi_vae)
    z = latents(vae, 12, 5)
    whole, _ = both(vae, z)
    vae.use_framewise_decoding = True
    at_once, streamed = both(vae, z)
    assert torch.equal(at_once, streamed) and (at_once - whole).abs().max() > LEVEL


@pytest.mark.parametrize("drop", [True, False])
def test_mochi_drops_its_first_frames_once(drop):
    vae = built(family_parts.mochi_vae)
    vae.drop_last_temporal_frames = drop
    at_once, streamed = both(vae, latents(vae, 12, 4))
    assert at_once.shape == streamed.shape and at_once.shape[2] == (19 if drop else 24)


def test_ltx_is_the_same_away_from_seams_and_everywhere_with_an_overlap_as_long_as_its_reach():
    vae = built(family_parts.ltx_vae)
    z = latents(vae, 8, 27)[..., :1, :1]
    at_once, streamed = both(vae, z, frames=9, overlap=3)
    errors = (at_once - streamed).abs().amax((0, 1, 3, 4))
    seams, reach, kept = torch.tensor([65, 137]), 8 * 8, 3 * 8
    away = ((torch.arange(len(errors))[:, None] - seams).abs() > reach - kept).all(1)
    assert away.any() and errors[away].max() <= LEVEL and errors.max() > LEVEL
    at_once, streamed = both(vae, z, frames=9, overlap=10)
    assert (at_once - streamed).abs().max() < 1e-4
    at_once, streamed = both(vae, z, frames=13, overlap=1)
    assert at_once.shape == streamed.shape


def test_ltxs_own_temporal_tiles_are_kept_where_the_user_asked_for_them():
    vae = built(family_parts.ltx_vae)
    vae.use_framewise_decoding = True
    for length in LENGTHS:
        at_once, streamed = both(vae, latents(vae, 8, length))
        assert torch.equal(at_once, streamed), length


def test_where_tiles_overlap_the_new_one_takes_over_in_equal_steps():
    """Frames 0 to 3 are the first tile's, frame 4 is a third new and frame 5 two thirds, from 6 on all is new."""
    one, two = torch.zeros(1, 3, 6, 1, 1), torch.ones(1, 3, 6, 1, 1)
    pieces = [piece[0, 0, :, 0, 0].tolist() for piece in blended(iter([(0, one, 4), (2, two, 8)]), ramp=2)]
    assert pieces == [[0, 0, 0, 0], pytest.approx([1 / 3, 2 / 3, 1, 1])]


@pytest.mark.parametrize("frames", [1, 2, 7, 8])
def test_spans_cover_every_frame_once(frames):
    for first in (1, 3, 9):
        covered = [frame for start, end in spans(frames, first, 2) for frame in range(start, end)]
        assert covered == list(range(frames))


def test_nothing_is_left_on_the_autoencoder():
    for name, (make, channels) in (CAUSAL | ROUNDED).items():
        vae = built(make)
        before = dict(vars(vae)), [len(module._forward_pre_hooks) for module in vae.modules()]
        list(pieces_of(vae)(vae, latents(vae, channels, 3), Cut()))
        after = dict(vars(vae)), [len(module._forward_pre_hooks) for module in vae.modules()]
        assert before == after, name


def test_subclasses_decode_as_their_parents_and_strangers_are_refused_by_name():
    class Mine(type(family_parts.wan_vae())):
        pass

    vae = family_parts.wan_vae()
    vae.__class__ = Mine
    assert pieces_of(vae) is KINDS["AutoencoderKLWan"]
    with pytest.raises(UsageError, match="Linear is not known to decode piece by piece; leave stream-decode out"):
        pieces_of(torch.nn.Linear(1, 1))


def test_a_decoder_whose_convolutions_cannot_be_seen_is_an_error(monkeypatch):
    """As torch.compile does, which does not call hooks that come after it."""
    vae = built(family_parts.mochi_vae)
    monkeypatch.setattr("genkit.decoding.causal_padding._fill", lambda *given: None)
    with pytest.raises(GenkitError, match="could not see the convolutions.*decode with one that is not compiled"):
        list(pieces_of(vae)(vae, latents(vae, 12, 3), Cut()))


def test_a_length_of_pieces_that_would_be_ignored_is_refused():
    for make in (family_parts.hunyuan_vae, family_parts.ltx_vae):
        vae = make()
        vae.use_framewise_decoding = True
        Streaming(name="stream-decode", cut=Cut()).check(vae)
        with pytest.raises(UsageError, match="frames=5 has no place in Autoencoder.*pixel frames; set that, or leave"):
            Streaming(name="stream-decode", cut=Cut(frames=5)).check(vae)


def test_what_pieces_would_change_everywhere_is_refused_in_words():
    vae = family_parts.hunyuan_vae()
    vae.use_framewise_decoding = False
    with pytest.raises(UsageError, match=r"pipe\.vae\.use_framewise_decoding=False.*set it to True"):
        pieces_of(vae)
    noisy = type(family_parts.ltx_vae())(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        decoder_inject_noise=(True, False, False, False, False),
    )
    with pytest.raises(UsageError, match="adds noise in its decoder, which each piece would draw by itself"):
        pieces_of(noisy)
