"""The events of a prompt: read once a run, and never those of another run."""

from collections import Counter

import families
import pytest

import genkit
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.rules import text_routing
from genkit.plugins.prompts import timeline

EVENTS = [{"prompt": "a red circle", "end": 0.3}, {"prompt": "a blue square"}]
GRID = VideoGrid(frames=5, rows=3, cols=4)
SIZES = families.sizes("wan") | {"num_inference_steps": 3}


@pytest.fixture
def counted(monkeypatch):
    calls = Counter()

    def count(module, name):
        inner = getattr(module, name)

        def counting(*given):
            calls[name] += 1
            return inner(*given)

        monkeypatch.setattr(module, name, counting)

    for name in ("parse_events", "resolve"):
        count(timeline, name)
    count(text_routing, "event_costs")
    return calls


@pytest.mark.parametrize("prompt", ["a red circle | a blue square", EVENTS], ids=["text", "list"])
def test_a_timeline_is_parsed_resolved_and_costed_once_a_run(counted, prompt):
    with genkit.apply(families.FAMILIES["wan"](), genkit.Timeline()) as handle:
        for run in (1, 2):
            video = handle.generate(prompt, seed=1, **SIZES)
            assert video.receipt.attention.backends["text routing"] > 3
            assert set(counted.values()) == {run}


def test_a_call_of_the_pipeline_reads_its_own_prompt_also_after_a_run_that_failed():
    """What ``generate`` was given for the same text was other seconds."""
    pipe = families.FAMILIES["wan"]()

    def stop(event):
        raise KeyError("stop")

    with genkit.apply(pipe, genkit.Timeline()) as handle:
        with pytest.raises(KeyError):
            handle.generate(EVENTS, seed=1, on_event=stop, **SIZES)
        pipe(**families.call_arguments("wan", prompt="a red circle | a blue square"))
        spans = handle.session.run.events.spans(GRID)
    assert spans[0][1] == pytest.approx(GRID.pixel_frames / GRID.fps / 2)
