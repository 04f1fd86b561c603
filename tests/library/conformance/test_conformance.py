"""Every pipeline of diffusers that takes plug-ins does what its facts say."""

import pytest
from small_pipelines import SMALL

import genkit

REFUSED = frozenset(
    {"AnyFlowFARPipeline", "Kandinsky6SRPipeline", "TextToVideoZeroPipeline", "TextToVideoZeroSDXLPipeline"}
)
"""Pipelines that no plug-in can work in, so that there is nothing to compare."""


@pytest.mark.parametrize("name", sorted(SMALL.keys() - REFUSED))
def test_a_pipeline_does_what_its_facts_say(name: str) -> None:
    pipe = SMALL[name].build()
    pipe.set_progress_bar_config(disable=True)
    found = genkit.check(pipe, **SMALL[name].arguments())
    assert found.ok, found
    assert {"identity", "removal"} <= {one.fact for one in found.findings}
