"""Facts against the configurations of released checkpoints, built without weights: what genkit would read from them."""

import re
from math import prod
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.configuration_utils import FrozenDict
from released.every_release import RELEASED
from released.release import Released
from torch import nn

from genkit.attention.facts.card import Card
from genkit.attention.facts.model_facts import ModelFacts
from genkit.pipelines.known import checkpoints
from genkit.pipelines.matching import card_of
from genkit.pipelines.pipeline_facts import Published


def name_of(one: Released) -> str:
    return one.hub_ids[0].rpartition("/")[2]


@pytest.fixture(scope="module", params=RELEASED, ids=name_of)
def built(request: pytest.FixtureRequest) -> tuple[Released, Any, Card]:
    one: Released = request.param
    pipe = one.build()
    return one, pipe, card_of(pipe)


def published(hub_id: str) -> Published:
    (found,) = [one for one in checkpoints() if hub_id in one.hub_ids]
    return found


def test_the_configuration_and_not_a_name_chooses_the_family(built: tuple[Released, Any, Card]) -> None:
    one, _, card = built
    assert card.family == one.family
    assert {published(hub_id).family for hub_id in one.hub_ids} == {one.family}


def test_length_rate_and_size_are_legal_and_as_published(built: tuple[Released, Any, Card]) -> None:
    one, pipe, card = built
    frames, height, width = one.clip
    assert (card.native_frames, card.fps) == (frames, one.fps)
    assert (frames - 1) % card.frame_step(pipe) == 0
    down, right = card.size_steps(pipe)
    assert (height % down, width % right) == (0, 0)


def test_tokens_are_counted_as_the_model_makes_them(built: tuple[Released, Any, Card]) -> None:
    one, pipe, card = built
    volume = card.main.volume(card.model(pipe), forward(card.main, one.latents))
    assert prod(volume) == one.tokens
    assert volume[0] == card.token_frames(pipe, one.clip[0])


def forward(facts: ModelFacts, latents: tuple[int, int, int]) -> dict[str, Any]:
    """The arguments of a forward that the volume is read from."""
    frames, rows, cols = latents
    first, second = (torch.empty(1, 1, *latents, device="meta"), torch.empty(1, frames, 1, rows, cols, device="meta"))
    return {
        "channels_first": {"hidden_states": first},
        "frames_first": {"hidden_states": second},
        "channels_last": {"hidden_states": first.movedim(1, -1)},
        "_without_reference": {"hidden_states": first.movedim(1, -1)},
        "packed": {"num_frames": frames, "height": rows, "width": cols},
        "unet": {"sample": first},
        "unet_frames_first": {"sample": second},
    }[facts.volume.__name__]


def test_every_attention_module_is_of_a_kind_or_left_out_with_a_reason(built: tuple[Released, Any, Card]) -> None:
    one, pipe, card = built
    known = {"q": ("to_q", "to_query"), "heads": ("heads", "num_heads")}
    modules = {
        name: module
        for name, module in card.model(pipe).named_modules()
        if any(hasattr(module, part) for part in known["q"])
    }
    kinds = {name: card.main.kind_of(name) for name in modules}
    counted = {kind: list(kinds.values()).count(kind) for kind in card.main.layers}
    assert counted == dict(one.layers)
    left = [name for name, kind in kinds.items() if kind is None]
    reasons = [*card.main.excluded, *card.main.dense]
    assert [name for name in left if not any(re.fullmatch(pattern, name) for pattern in reasons)] == []
    if one.heads is not None:
        module = modules[next(name for name, kind in kinds.items() if kind is not None)]
        assert next(getattr(module, part) for part in known["heads"] if hasattr(module, part)) == one.heads


def test_the_weights_take_what_was_published(built: tuple[Released, Any, Card]) -> None:
    """Parameters that the configuration makes, the publisher's figure, and what `genkit models` says are the same."""
    one, pipe, _ = built
    if not one.complete:
        assert not set(one.hub_ids) & set(published(one.hub_ids[0]).parameters)
        return
    models = [part for part in vars(pipe).values() if isinstance(part, nn.Module)]
    billions = sum(parameter.numel() for model in models for parameter in model.parameters()) / 1e9
    for hub_id in one.hub_ids:
        assert published(hub_id).parameters[hub_id] == pytest.approx(billions, rel=1e-3)
        assert published(hub_id).weights(hub_id) == pytest.approx(billions * 2e9 / 2**30, rel=1e-3)
    if one.billions is not None:
        assert billions == pytest.approx(one.billions, rel=one.within)


def test_a_figure_of_the_weights_is_of_a_checked_configuration() -> None:
    checked = {hub_id for one in RELEASED for hub_id in one.hub_ids}
    assert {hub_id for one in checkpoints() for hub_id in one.parameters} <= checked
    assert all(set(one.parameters) <= set(one.hub_ids) for one in checkpoints())


@pytest.mark.parametrize("share", [0.7, 0.8, 0.9])
def test_only_clips_of_ten_seconds_are_long_where_kandinsky_is_sparse_by_itself(share: float) -> None:
    """NABLA is in the HD checkpoints of five seconds too, which read 0.8 of the mass."""
    model = SimpleNamespace(config=FrozenDict(attention_type="nabla", attention_P=share))
    ten = next(one for one in checkpoints() if one.family == "kandinsky5-10s")
    assert ten.when(SimpleNamespace(transformer=model)) is (share != 0.8)
