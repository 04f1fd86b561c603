"""Weights cast by layer, and pipelines moved to another precision, before and inside ``apply``."""

import pytest
import torch
from workflows import FURTHER, PIPELINES, PLUGINS, Change, check_change, expected, model

CASTS: dict[str, Change] = {
    "float8 storage": lambda pipe: model(pipe).enable_layerwise_casting(
        storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32
    ),
    "float16 storage": lambda pipe: model(pipe).enable_layerwise_casting(
        storage_dtype=torch.float16, compute_dtype=torch.float32
    ),
    "moved to bfloat16": lambda pipe: pipe.to(torch.bfloat16),
}


@pytest.mark.parametrize("plugins", PLUGINS)
@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("cast", CASTS)
def test_weights_cast_before_are_those_cast_inside(cast: str, name: str, plugins: str) -> None:
    made = check_change(name, plugins, CASTS[cast])
    assert torch.isfinite(made.float()).all() and not torch.equal(made.float(), expected(name, plugins))


@pytest.mark.parametrize("name", FURTHER)
def test_float8_storage_of_further_families(name: str) -> None:
    check_change(name, "nothing", CASTS["float8 storage"])
