"""Short names of models: one checkpoint, several to choose from, or none."""

import pytest

import genkit
from genkit.loading import load
from genkit.pipelines.names import hub_id_of, published_as


@pytest.mark.parametrize(
    ("name", "hub_id"),
    [
        ("mochi", "genmo/mochi-1-preview"),
        ("Mochi", "genmo/mochi-1-preview"),
        ("wan2.2", "Wan-AI/Wan2.2-T2V-A14B-Diffusers"),
        ("wan2.2-5b", "Wan-AI/Wan2.2-TI2V-5B-Diffusers"),
        ("cogvideox1.5", "THUDM/CogVideoX1.5-5B"),
        ("nothing-like-this", None),
        ("", None),
    ],
)
def test_a_short_name_means_one_checkpoint(name: str, hub_id: str | None) -> None:
    assert hub_id_of(name) == hub_id


def test_several_are_listed() -> None:
    with pytest.raises(genkit.UsageError, match=r"'wan' may be .*Wan2.1-T2V-1.3B.* or .*; give one of them"):
        load("wan")


def test_load_opens_what_a_short_name_means(monkeypatch: pytest.MonkeyPatch) -> None:
    import diffusers

    opened: list[str] = []
    monkeypatch.setattr(diffusers.DiffusionPipeline, "load_config", lambda where: opened.append(where) or {})
    monkeypatch.setattr(diffusers.DiffusionPipeline, "from_pretrained", lambda where, **more: 1 / 0)
    with pytest.raises(genkit.GenkitError, match="could not open 'genmo/mochi-1-preview'"):
        load("mochi")
    assert opened == ["genmo/mochi-1-preview"]


def test_a_hub_id_is_its_own_family() -> None:
    (one,) = published_as("THUDM/CogVideoX-5b")
    assert one.family == "cogvideox"
