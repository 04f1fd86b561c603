"""Recipes of earlier releases: the same video again, or one sentence; and defaults that do not change in silence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genkit import catalogue, recipe
from genkit.earlier import Made, texts_today
from genkit.errors import UsageError
from genkit.receipt import Receipt
from genkit.video import Video, read, read_request

TINY = Made(family="tiny", frames=65)


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
    with pytest.raises(UsageError, match="freelong has no parameter 'window' any more; it is called 'near' now"):
        catalogue.parse("freelong:window=4")
    with pytest.raises(UsageError, match="freelong has no parameter 'wondow'; known: "):
        catalogue.parse("freelong:wondow=4")


def test_a_method_of_no_release_is_unknown() -> None:
    for text in ("radial@7", "frame-anchors@", "frame-anchors@0", "nothing@1", "frame-anchors@²"):
        with pytest.raises(UsageError, match="there is no plug-in called"):
            catalogue.parse(text)
