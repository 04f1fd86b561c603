"""The patch autoencoder: a projection, its inverse as far as there is one, and the interface that WanPipeline uses."""

import pytest
import torch

from genkit.tiny.autoencoder import PatchAutoencoder
from genkit.tiny.world import draw_scene, render


def videos(count: int, seed: int, held_out: bool) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scenes = [draw_scene(generator, things=1 + i % 2, held_out=held_out) for i in range(count)]
    return render(scenes, generator, num_frames=17, side=64).movedim(2, 1) * 2 - 1


@pytest.fixture(scope="module")
def vae() -> PatchAutoencoder:
    return PatchAutoencoder.fit(videos(150, 7, held_out=False), 48, 2, 8)


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(10 * torch.log10(4 / (a - b).square().mean()))


def test_components_are_orthonormal(vae):
    torch.testing.assert_close(vae.components @ vae.components.T, torch.eye(48), atol=1e-5, rtol=0)


@torch.no_grad()
def test_clips_it_was_not_fitted_on_come_back(vae):
    fresh = videos(40, 99, held_out=True)
    latents = vae.encode(fresh).latent_dist
    assert latents.mode().shape == (40, 48, 9, 8, 8)
    assert torch.equal(latents.mode(), latents.sample(torch.Generator()))
    assert psnr(vae.decode(latents.mode()).sample, fresh) >= 32
    assert vae.encode(fresh, return_dict=False)[0].mode().equal(latents.mode())
    assert vae.decode(latents.mode(), return_dict=False)[0].shape == fresh.shape


@torch.no_grad()
def test_all_components_lose_nothing():
    fresh = videos(20, 3, held_out=False)
    whole = PatchAutoencoder.fit(fresh, 3 * 2 * 8 * 8, 2, 8)
    assert psnr(whole.decode(whole.encode(fresh).latent_dist.mode()).sample, fresh) > 80


@torch.no_grad()
def test_encoding_again_what_was_decoded_changes_nothing(vae):
    latents = 0.1 * torch.randn(2, 48, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    inside = vae.encode(vae.decode(latents).sample).latent_dist.mode()
    once = vae.decode(inside).sample
    again = vae.encode(once).latent_dist.mode()
    torch.testing.assert_close(again[:, :, 1:], inside[:, :, 1:], atol=0.02, rtol=0)  # clamped to [-1, 1]


@torch.no_grad()
def test_normalised_latents_have_one_mean_variance_and_the_coarse_channels_more(vae):
    latents = vae.encode(videos(40, 8, held_out=False)).latent_dist.mode()
    scaled = (latents / torch.tensor(vae.config.latents_std)[:, None, None, None]).movedim(1, 0).flatten(1)
    variance = scaled.var(dim=1)
    assert float(variance.mean()) == pytest.approx(1, abs=0.15)
    assert (variance[:24] > variance[24:]).all()


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 3, 17, 33])
def test_frames_and_latent_frames(vae, frames):
    video = torch.zeros(1, 3, frames, 64, 96)
    latents = vae.encode(video).latent_dist.mode()
    assert latents.shape == (1, 48, 1 + (frames - 1) // 2, 8, 12)
    assert vae.decode(latents).sample.shape == video.shape


@torch.no_grad()
def test_a_single_image_is_the_first_frame_of_its_clip(vae):
    clip = videos(4, 11, held_out=False)
    image, latents = vae.encode(clip[:, :, :1]).latent_dist.mode(), vae.encode(clip).latent_dist.mode()
    torch.testing.assert_close(image, latents[:, :, :1], atol=1e-5, rtol=0)
    assert psnr(vae.decode(image).sample, clip[:, :, :1]) > 28


@pytest.mark.parametrize("shape", [(16, 64, 64), (17, 60, 64), (17, 64, 60)])
def test_a_wrong_size_is_refused(vae, shape):
    with pytest.raises(ValueError, match=r"does not fit: it needs 1 \+ 2 n frames and sides in multiples of 8"):
        vae.encode(torch.zeros(1, 3, *shape))


def test_the_fields_that_wan_pipeline_reads_survive_saving(vae, tmp_path):
    vae.save_pretrained(tmp_path)
    loaded = PatchAutoencoder.from_pretrained(tmp_path)
    config = loaded.config
    assert (config.z_dim, config.scale_factor_temporal, config.scale_factor_spatial) == (48, 2, 8)
    assert len(config.latents_mean) == len(config.latents_std) == 48 and min(config.latents_std) > 0
    assert torch.equal(loaded.components, vae.components) and torch.equal(loaded.center, vae.center)
    assert loaded.dtype == torch.float32
