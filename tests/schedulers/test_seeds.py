"""Two seeds never give one video: what a seed is, and the generator that it stands for."""

import json

import families
import numpy as np
import pytest
import torch

import genkit
from genkit.apps.commands.compare_plan import make_plan
from genkit.apps.commands.flags import request_from
from genkit.apps.jobs.store import Store
from genkit.apps.page import form
from genkit.checks.arguments import draw_seed
from genkit.request import Request
from genkit.schedulers.noise import shuffled_order
from genkit.schedulers.seeds import generator_of

LARGEST = 2**64 - 1
WIDE = (2**32, 2**32 + 5, 7 << 40, 2**63 - 1, 2**63, LARGEST)
SMALL = {"num_frames": 5, "height": 48, "width": 64, "num_inference_steps": 1, "max_sequence_length": 16}


@pytest.mark.parametrize("seed", [0, 1, 7, 2**31, 2**32 - 1])
def test_seeds_of_32_bits_give_the_noise_that_torch_gives(seed: int) -> None:
    ours, torchs = generator_of(seed), torch.Generator("cpu").manual_seed(seed)
    assert torch.equal(ours.get_state(), torchs.get_state())
    assert torch.equal(torch.randn(999, generator=ours), torch.randn(999, generator=torchs))


@pytest.mark.parametrize("seed", WIDE)
def test_wider_seeds_are_the_mersenne_twister_seeded_by_both_halves(seed: int) -> None:
    """NumPy's own implementation is the independent source; torch draws two words for each of these numbers."""
    bits = np.random.RandomState([seed % 2**32, seed >> 32])
    words = bits.randint(0, 2**32, 4000, dtype=np.uint32)[1::2] % 2**31
    generator = generator_of(seed)
    assert torch.randint(0, 2**31, (2000,), generator=generator).tolist() == words.tolist()
    assert generator.initial_seed() == seed


def test_no_two_of_many_seeds_give_one_noise() -> None:
    seeds = {bit + low for bit in [0] + [1 << b for b in range(64)] for low in (0, 1, 2**32 - 1)} | {*WIDE, LARGEST - 1}
    seeds = sorted(seed for seed in seeds if seed <= LARGEST)
    noises = {tuple(torch.randn(4, generator=generator_of(seed)).tolist()) for seed in seeds}
    assert len(noises) == len(seeds) > 190


def test_noise_of_neighbouring_wide_seeds_is_not_correlated() -> None:
    one, two = (torch.randn(200_000, generator=generator_of(seed)) for seed in (2**40, 2**40 + 2**33))
    assert abs(float((one * two).mean())) < 5 / 200_000**0.5
    assert abs(float(one.mean())) < 5 / 200_000**0.5 and abs(float(one.var()) - 1) < 0.02


def test_videos_of_seeds_that_share_their_low_half_differ() -> None:
    pipe = families.FAMILIES["wan"]()
    videos = [genkit.generate(pipe, "a red circle", seed=seed, **SMALL) for seed in (0, 2**32, 2**63, LARGEST)]
    assert [video.request["seed"] for video in videos] == [0, 2**32, 2**63, LARGEST]
    assert len({video.frames.tobytes() for video in videos}) == 4
    again = genkit.generate(pipe, "a red circle", seed=videos[3].receipt.seed, **SMALL)
    assert np.array_equal(again.frames, videos[3].frames)


def test_the_order_of_shuffled_noise_takes_all_64_bits() -> None:
    class Elsewhere:
        device = torch.device("cuda")

        def __init__(self, seed: int) -> None:
            self.initial_seed = lambda: seed

    orders = {tuple(shuffled_order(64, 16, 4, Elsewhere(seed)).tolist()) for seed in (7, 2**32 + 7, 2**63 + 7)}  # type: ignore[arg-type]
    assert len(orders) == 3


@pytest.mark.parametrize("seed", [np.int64(9), np.uint64(LARGEST), torch.tensor(9), LARGEST, 0])
def test_whole_numbers_of_any_kind_are_seeds(seed: object) -> None:
    number = draw_seed(seed)
    assert type(number) is int and number == int(seed)  # type: ignore[call-overload]


@pytest.mark.parametrize("seed", [None, -1, np.int64(-1)])
def test_none_and_minus_one_draw_one(seed: object) -> None:
    assert 0 <= draw_seed(seed) < 2**31 and len({draw_seed(seed) for _ in range(9)}) > 1


@pytest.mark.parametrize(
    "seed", [-2, 2**64, 10**40, 1.0, 1.5, float("nan"), True, "7", "", [7], b"7", torch.tensor([1, 2]), np.float64(3)]
)
def test_anything_else_is_refused_in_a_sentence(seed: object) -> None:
    with pytest.raises(genkit.UsageError, match=r"seed=.* must be a whole number from 0 to 2\*\*64 - 1, or -1 to draw"):
        draw_seed(seed)


@pytest.mark.parametrize("seed", WIDE)
def test_the_page_the_command_line_the_store_and_the_file_keep_every_digit(seed: int, tmp_path) -> None:
    assert request_from({"prompt": "a"}, [f"seed={seed}"]).seed == seed
    asked = form.check(form.defaults() | {"prompt": "a red circle", "seed": str(seed)}).request
    assert asked is not None and asked.seed == seed
    store = Store(tmp_path)
    store.submit(asked)
    job = store.claim()
    assert job is not None and job.request.seed == seed
    store.finish(job, asked.model_dump(mode="json", exclude_none=True), "")
    assert store.job(job.id).request.seed == seed
    values, _ = form.settings(json.loads(json.dumps({"prompt": "a", "seed": seed})))
    assert values["seed"] == str(seed), "a browser's numbers are exact up to 2**53 only, so it must be a text"
    genkit.Video(np.zeros((1, 16, 16, 3), dtype=np.uint8), 8.0, {"prompt": "a", "seed": seed}).save(tmp_path / "a.mp4")
    assert genkit.read(tmp_path / "a.mp4").request["seed"] == seed


def test_the_seeds_of_a_comparison_end_at_the_largest() -> None:
    sides = [Request(prompt="a", seed=LARGEST - 1, plugins=plugins) for plugins in ((), ("freenoise",))]
    assert make_plan(sides, [], 2, None).seeds == (LARGEST - 1, LARGEST)
    with pytest.raises(genkit.UsageError, match=f"seed={2**64} must be a whole number from 0 to"):
        make_plan(sides, [], 3, None)
