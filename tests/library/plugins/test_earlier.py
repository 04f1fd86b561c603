"""Recipes of earlier releases: the same video again, or one sentence; and defaults that do not change in silence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genkit.errors import UsageError
from genkit.pipelines.known import checkpoints
from genkit.plugins import catalogue
from genkit.plugins.earlier import CHANGES, LENGTHS_1, RELEASES, SAME_LENGTH_1, Change, Made, texts_today
from genkit.plugins.sparse.method import Sparse
from genkit.record.receipt import Receipt
from genkit.schedulers.seeds import generator_of
from genkit.video import recipe
from genkit.video.video import Video, read, read_request

TINY = Made(family="tiny", frames=65)


SHARED = {
    "block": None,
    "recall": None,
    "max_density": 1.0,
    "budget": None,
    "dense_steps": 0.25,
    "dense_sigma": None,
    "dense_layers": 1,
    "min_tokens": 256,
    "impl": "auto",
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "adaspa": {
        "dense_steps": 0.2,
        "dense_layers": 0,
        "density": 0.2,
        "adaptive": True,
        "searches": (0.6,),
        "order": "frames",
        "first_frame": False,
    },
    "first-block-cache": {"threshold": 0.05},
    "frame-anchors": {"dense_steps": 0.0, "dense_layers": 0, "near": 3, "first": 1, "key_frames": None, "rotate": True},
    "freelong": {"near": None, "until": 1.0, "cutoff_time": 0.25, "cutoff_space": 0.25, "noise": "shuffled"},
    "freenoise": {"window": None, "stride": None},
    "mag-cache": {"mag_ratios": (), "threshold": 0.06, "max_skip_steps": 3, "retention_ratio": 0.2, "calibrate": False},
    "pab": {
        "spatial_attention_block_skip_range": 2,
        "cross_attention_block_skip_range": None,
        "spatial_attention_timestep_skip_range": (100, 800),
        "cross_attention_timestep_skip_range": (100, 800),
    },
    "radial": {"dense_steps": 0.24, "density": None, "decay": None, "rule": "corrected", "first_frame": None},
    "sliding-tile": {"dense_steps": 0.24, "dense_layers": 0, "tile": (6, 8, 8), "window": (3, 3, 3)},
    "sparge": {
        "choose": "topk",
        "density": 0.5,
        "mass": 0.98,
        "similarity": -0.1,
        "order": "frames",
        "first_frame": False,
    },
    "svg": {"dense_steps": 0.2, "density": 0.3, "rows": 64, "first_frame": None},
    "svg2": {
        "dense_steps": 0.2,
        "top_p": 0.9,
        "min_share": 0.1,
        "query_cluster": 256,
        "key_cluster": 76,
        "first_rounds": 10,
        "rounds": 2,
        "tail": False,
    },
    "taylor-seer": {
        "cache_interval": 5,
        "disable_cache_before_step": 3,
        "disable_cache_after_step": None,
        "max_order": 1,
        "taylor_factors_dtype": "bfloat16",
        "use_lite_mode": False,
    },
    "threshold": {"dense_steps": 0.2, "tau": 1.0, "first_frame": False, "order": "frames"},
    "timeline": {"tail": 0.33, "everywhere": ""},
    "windows": {"window": None, "stride": None, "beyond_training": False},
    "fifo": {"window": None, "lookahead": True},
    "position-interpolation": {"factor": None},
    "riflex": {"k": None, "n_k": None, "margin": 0.9},
    "ntk": {"factor": None},
    "yarn": {"factor": None, "slow": 1.0, "fast": 32.0},
    "temporal-regularization": {"sigma": 1.0, "strength": 1.0, "until": 0.56, "levels": 1},
    "ultravico": {
        "alpha": 0.9,
        "beta": 0.6,
        "period": None,
        "around": 4,
        "centred": True,
        "first_frame": True,
    },
    "stream-decode": {"frames": None, "overlap": 8},
    "vmoba": {"dense_layers": 0, "threshold": 0.25, "time": 2, "space": (3, 4), "both": (4, 6, 4)},
}
"""What recipes of today's schema mean where they say nothing; ``SHARED`` by all sparse methods."""


def today(*texts: Any, made: Made = TINY) -> list[Any]:
    return texts_today(list(texts), 1, made)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("adaspa:recall=0.9", TINY),
        ("adaspa:budget=b.json,searches=0.5", TINY),
        ("frame-anchors", TINY),
        ("frame-anchors:near=2", TINY),
        ("freenoise", Made(family="tiny", frames=33)),
        ("freenoise:window=6,stride=4", TINY),
        ("freenoise", Made(family=None, frames=65)),
        ("freenoise", Made(family="tiny", frames=None)),
        ("vmoba:threshold=0.4", TINY),
        ("svg2", TINY),
        ("freenoise", Made(family="animatediff", frames=32)),
        ("freelong:until=0.5", Made(family="tiny", frames=33)),
    ],
)
def test_what_cannot_be_made_again_is_refused_in_a_sentence(text: str, made: Made) -> None:
    (marked,) = today(text, made=made)
    name, _, rest = text.partition(":")
    assert marked == f"{name}@1" + (f":{rest}" if rest else "")
    with pytest.raises(
        UsageError, match=f"{name} of genkit-video 0.1.0, which made this video, .*--set plugins={name}"
    ):
        catalogue.parse(marked)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("freenoise", TINY),  # 33 latent frames are a window of 9 and 8 whole groups of 3
        ("freenoise:window=none", TINY),
        ("freenoise", Made(family="tiny", frames=17)),
        ("freenoise:window=16", Made(family="tiny", frames=31)),
        ("freelong:noise=plain", Made(family="tiny", frames=33)),
        ("pab", TINY),
        ("svg:density=0.25", TINY),
        ("not ours, at all", TINY),
        ("freenoise:window=x", TINY),
    ],
)
def test_what_means_the_same_is_left_alone(text: str, made: Made) -> None:
    assert today(text, made=made) == [text]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("threshold", "threshold:first_frame=none"),
        ("threshold:tau=1.5", "threshold:tau=1.5,first_frame=none"),
        ("threshold:first_frame=False", "threshold:first_frame=False"),
        ("Threshold: first-frame=true", "threshold:first_frame=true"),
        ("sparge:density=0.3", "sparge:density=0.3,first_frame=none"),
        ("freelong:window=4", "freelong:near=4"),
        ("radial", "radial:decay=1.0"),
        ("radial:decay=0.2", "radial:decay=0.2"),
        ("adaspa", "adaspa:first_frame=none"),
        ("adaspa:recall=0.9,searches=none", "adaspa:recall=0.9,searches=none,first_frame=none"),
    ],
)
def test_what_was_left_out_means_what_it_meant(text: str, meant: str) -> None:
    assert today(text) == [meant]
    catalogue.parse(meant)


def of(family: str, model: str, frames: int) -> Made:
    return Made(family=family, model=model, frames=frames)


@pytest.mark.parametrize(
    ("text", "made", "meant"),
    [
        ("freenoise", of("ltx", "Lightricks/LTX-Video", 249), "freenoise:window=16"),
        ("freenoise:window=none", of("ltx", "Lightricks/LTX-Video", 249), "freenoise:window=16"),
        ("freenoise:window=8", of("ltx", "Lightricks/LTX-Video", 249), "freenoise:window=8"),
        ("freenoise", of("wan", "Wan-AI/Wan2.2-TI2V-5B-Diffusers", 165), "freenoise:window=21"),
        ("freenoise", of("wan", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", 165), "freenoise"),
        ("freenoise", of("cogvideox", "THUDM/CogVideoX-2b", 97), "freenoise"),
        ("freenoise", of("cogvideox", "THUDM/CogVideoX1.5-5B", 81), "freenoise@1"),
        ("freelong", of("ltx", "Lightricks/LTX-Video", 153), "freelong@1"),
        ("freelong:noise=plain", of("ltx", "Lightricks/LTX-Video", 153), "freelong@1:noise=plain"),
        ("freelong", of("ltx", "Lightricks/LTX-Video", 121), "freelong"),
        ("freelong", of("wan", "a folder that may hold any Wan", 165), "freelong@1"),
        ("freelong", of("wan", "Wan-AI/Wan2.1-T2V-14B-Diffusers", 165), "freelong"),
    ],
)
def test_the_length_of_a_training_is_the_one_that_was_known_then(text: str, made: Made, meant: str) -> None:
    """What is called wan may be Wan 2.2 TI2V-5B, and cogvideox CogVideoX 1.5; LTX-Video's length has changed."""
    assert today(text, made=made) == [meant]


def test_lengths_of_other_families_are_those_of_the_first_release() -> None:
    known = {name for names in SAME_LENGTH_1.values() for name in names}
    for card in checkpoints():
        if card.family in LENGTHS_1 and (card.family not in SAME_LENGTH_1 or known & {*card.hub_ids}):
            length = (card.native_frames - 1) // card.stride + 1, card.stride
            assert length == LENGTHS_1[card.family], f"{card.family}: say in SAME_LENGTH_1 that it has changed"


@pytest.mark.parametrize(("seed", "drew"), [(2**32 + 5, 5), (2**63 - 1, 2**32 - 1), (7, 7), (2**32 - 1, 2**32 - 1)])
def test_a_seed_of_the_first_release_draws_what_it_drew(
    seed: int, drew: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took the low 32 bits alone, as torch does."""
    video = Video(np.zeros((2, 16, 16, 3), np.uint8), 8.0, {"prompt": "a", "seed": seed})
    assert read_request(video.save(tmp_path / "new.mp4"))["seed"] == seed
    with monkeypatch.context() as earlier:
        earlier.setattr(recipe, "SCHEMA_VERSION", 1)
        path = video.save(tmp_path / "old.mp4")
    assert read_request(path)["seed"] == drew
    old = torch.Generator("cpu").manual_seed(seed)
    assert torch.equal(torch.randn(9, generator=old), torch.randn(9, generator=generator_of(drew)))


def test_what_is_no_text_is_left_alone() -> None:
    assert today(5, None) == [5, None]


def test_a_recipe_of_the_first_release_is_read_in_todays_terms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = ["frame-anchors", "pab"]
    receipt = Receipt(
        model="tiny", family="tiny", pipeline="WanPipeline", device="cpu", dtype="float32", seed=7, frames=2,
        height=16, width=16, fps=8.0, started="2026-01-02T03:04:05+00:00", plugins=tuple(plugins),
    )  # fmt: skip
    video = Video(np.zeros((2, 16, 16, 3), np.uint8), 8.0, {"prompt": "a", "plugins": plugins}, receipt)
    with monkeypatch.context() as earlier:
        earlier.setattr(recipe, "SCHEMA_VERSION", 1)
        path = video.save(tmp_path / "old.mp4")
    assert read_request(path)["plugins"] == ["frame-anchors@1", "pab"]
    assert read(path).receipt == receipt, "what ran is told as it was"
    assert read_request(video.save(tmp_path / "new.mp4"))["plugins"] == plugins


def test_a_parameter_with_another_name_today_is_told() -> None:
    with pytest.raises(UsageError, match="freelong no longer has a parameter 'window'; it is called 'near' now"):
        catalogue.parse("freelong:window=4")
    with pytest.raises(UsageError, match="svg2 no longer has a parameter 'least'; it is called 'min_share' now"):
        catalogue.parse("svg2:least=0.2")
    with pytest.raises(UsageError, match="freelong has no parameter 'wondow'; known: "):
        catalogue.parse("freelong:wondow=4")


@pytest.mark.parametrize(
    "name", [name for name in catalogue.names() if issubclass(catalogue.plugin_class(name), Sparse)]
)
def test_the_bound_of_a_density_has_another_name_today(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} no longer has a parameter 'most'; it is called 'max_density' now"):
        catalogue.parse(f"{name}:most=0.5")
    if name not in ("adaspa", "frame-anchors", "svg2", "vmoba"):  # these make no video of the first release again
        (meant,) = today(f"{name}:recall=0.9,most=0.5")
        plugin: Any = catalogue.parse(meant)
        assert (plugin.recall, plugin.max_density) == (0.9, 0.5)


def test_a_method_of_no_release_is_unknown() -> None:
    for text in ("radial@7", "frame-anchors@", "frame-anchors@0", "nothing@1", "frame-anchors@²"):
        with pytest.raises(UsageError, match="there is no plug-in called"):
            catalogue.parse(text)


def test_no_default_changes_without_a_new_schema() -> None:
    """A recipe names only what differs from the defaults: see ``genkit.plugins.earlier`` before changing this table."""
    assert recipe.SCHEMA_VERSION == 2 == max(CHANGES) + 1 and CHANGES.keys() == RELEASES.keys()
    assert DEFAULTS.keys() == catalogue.PLUGINS.keys()
    for name, own in DEFAULTS.items():
        cls = catalogue.plugin_class(name)
        meant = SHARED | own if issubclass(cls, Sparse) else own
        found = {parameter.name: parameter.default for parameter in catalogue.describe(cls).parameters}
        assert {key: found[key] for key in meant} == meant, f"{name}: recipes of schema 2 mean what stands here"


def test_every_change_names_what_is_there_today() -> None:
    for changes in CHANGES.values():
        for name, change in changes.items():
            known = {parameter.name for parameter in catalogue.describe(catalogue.plugin_class(name)).parameters}
            assert {*change.defaults, *change.renamed.values()} <= known and not known & change.renamed.keys()
            assert bool(change.reason) == (change.differs is not Change().differs), "a reason where it is refused"
