"""Prompts over time: what is read, when each event holds, and what is refused."""

import pytest

from genkit.attention.geometry.grid import VideoGrid
from genkit.errors import UsageError
from genkit.plugins.contract import Target
from genkit.plugins.prompts.timeline import Timeline
from genkit.schedulers.timeline import Event, parse_events, resolve


def times(*events, seconds=6.0):
    """Resolve events given as (start, end)."""
    return resolve(tuple(Event(prompt="x", start=start, end=end) for start, end in events), seconds)


@pytest.mark.parametrize(
    "prompt",
    [
        [Event(prompt="a", start=0, end=2), Event(prompt="b", start=2, end=5)],
        [{"prompt": " a ", "start": 0, "end": 2}, {"prompt": "b", "start": 2, "end": 5}],
        [(0, 2, "a"), [2, 5, " b"]],
        ({"prompt": "a", "start": 0, "end": 2}, (2, 5, "b")),
    ],
    ids=["events", "mappings", "tuples", "mixed"],
)
def test_every_form_with_times(prompt):
    assert parse_events(prompt) == (Event(prompt="a", start=0, end=2), Event(prompt="b", start=2, end=5))


@pytest.mark.parametrize(
    "prompt", ["a | b", "a|b", ["a", "b "], [{"prompt": "a"}, "b"], [(None, None, "a"), "b"]], ids=str
)
def test_every_form_without_times(prompt):
    assert parse_events(prompt) == (Event(prompt="a"), Event(prompt="b"))


def test_a_text_without_a_bar_is_one_event():
    assert parse_events(" a red ring ") == (Event(prompt="a red ring"),)


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("a | ", "event 2 of 2 has no text; write something on both sides"),
        ("a || b", "event 2 of 3 has no text"),
        (["a", " "], "event 2 of 2 has no text"),
        ([Event(prompt="")], "event 1 of 1 has no text"),
        ([], "the list of events is empty; give at least one text"),
        ({"prompt": "a", "start": 0}, "a prompt is a text or a list of events; got {'prompt': 'a', 'start': 0}"),
        (7, "a prompt is a text or a list of events; got 7"),
        ([{"prompt": "a", "begin": 0}], "an event takes prompt, start and end; got prompt, begin"),
        ([{"start": 0}], "an event takes prompt, start and end; got start"),
        ([{}], "an event takes prompt, start and end; got nothing"),
        ([{0: "a"}], "an event takes prompt, start and end; got 0"),
        ([(0, "a")], r"an event is a text, a mapping or \(start, end, text\); got \(0, 'a'\)"),
        ([5], r"an event is a text, a mapping or \(start, end, text\); got 5"),
        ([{"prompt": None}], "event 1 of 1 has the prompt None; it must be a text"),
        ([(0, 1, 2)], "event 1 of 1 has the prompt 2; it must be a text"),
        (["a", {"prompt": "b", "start": "2s"}], "event 2 of 2 has start='2s'; it must be a number of seconds"),
        ([(0, float("nan"), "a")], "event 1 of 1 has end=nan; it must be a number of seconds"),
        ([Event(prompt="a", start=True)], "event 1 of 1 has start=True; it must be a number of seconds"),
    ],
    ids=str,
)
def test_what_is_no_list_of_events_is_refused(prompt, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse_events(prompt)


def test_times_not_given_are_shared_out_evenly():
    none = (None, None)
    assert times(none) == [(0, 6)]
    assert times(none, none) == [(0, 3), (3, 6)]
    assert times(none, none, none) == [(0, 2), (2, 4), (4, 6)]


def test_a_border_given_on_one_side_is_the_neighbours_too():
    assert times((None, 1), (None, None)) == [(0, 1), (1, 6)]
    assert times((None, None), (5, None)) == [(0, 5), (5, 6)]
    assert times((None, 2), (None, None), (None, None)) == [(0, 2), (2, 4), (4, 6)]
    assert times((1, None), (None, None), (4, 5)) == [(1, 2.5), (2.5, 4), (4, 5)]


def test_gaps_stay_and_sharing_begins_after_them():
    assert times((0, 1), (4, 6)) == [(0, 1), (4, 6)]
    assert times((0, 2), (3, None), (None, None), seconds=9) == [(0, 2), (3, 6), (6, 9)]
    assert times((None, None), (None, 2), (4, None)) == [(0, 1), (1, 2), (4, 6)]


def test_the_last_event_ends_exactly_with_the_video():
    for seconds in (81 / 16, 17 / 8, 0.1 + 0.2):
        for count in range(1, 8):
            spans = times(*[(None, None)] * count, seconds=seconds)
            assert spans[-1][1] == seconds and spans[0][0] == 0
            assert all(before[1] == after[0] for before, after in zip(spans, spans[1:], strict=False))
    assert times((0.3, None), *[(None, None)] * 4, seconds=2.2)[-1][1] == 2.2


def test_an_end_rounded_up_is_the_end_of_the_video():
    assert times((0, 1), (1, 2.13), seconds=2.125) == [(0, 1), (1, 2.125)]


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ([(0, 3), (2, 6)], "event 1 ends at 3 s but event 2 begins at 2 s; events must not overlap"),
        ([(3, 5), (0, 2)], "event 1 ends at 5 s but event 2 begins at 0 s; events must not overlap"),
        ([(3, 2)], "event 1 runs from 3 s to 2 s; it must begin before it ends"),
        ([(2, 2)], "event 1 runs from 2 s to 2 s; it must begin before it ends"),
        ([(-1, 2)], "event 1 runs from -1 s to 2 s; it must begin before it ends, and be inside the video's 6 s"),
        ([(0, 2), (6, 8)], "event 2 runs from 6 s to 8 s.* inside the video's 6 s"),
        ([(0, 2), (2, 8)], "event 2 runs from 2 s to 8 s.* inside the video's 6 s"),
        ([(0, 2), (7, None)], "event 2 runs from 7 s to 6 s"),
        ([(3, None), (1, None)], "event 1 runs from 3 s to 1 s"),
    ],
    ids=str,
)
def test_events_that_do_not_fit_are_refused(events, sentence):
    with pytest.raises(ValueError, match=sentence):
        times(*events)


def target(*kinds):
    return Target(family="f", title="Some Model", native_frames=5, kinds=frozenset(kinds))


def test_the_plugin_puts_the_common_words_before_each_event():
    assert Timeline(everywhere="a red ring").read("moves left | grows").texts == [
        "a red ring moves left",
        "a red ring grows",
    ]
    assert Timeline().read([(0, 1, "a"), "b"]).texts == ["a", "b"]


def test_the_plugin_gives_a_rule_for_cross_attention_and_itself_for_the_text():
    plugin = Timeline(tail=0.5)
    parts = plugin.parts(target("self", "cross"))
    assert parts.text is plugin and parts.noise is None
    assert [(rule.tail, rule.kinds) for rule in parts.rules] == [(0.5, {"cross"})]


def test_the_plugin_refuses_in_its_own_name():
    with pytest.raises(UsageError, match="timeline: event 2 of 2 has no text"):
        Timeline().read("a |")
    with pytest.raises(UsageError, match="timeline: event 1 runs from 0 s to 9 s"):
        Timeline().read([(0, 9, "a")]).spans(VideoGrid(frames=6, rows=1, cols=1, stride=1, fps=1))
    with pytest.raises(UsageError, match="timeline: tail=-1 is a time in seconds and must be at least 0"):
        Timeline(tail=-1)
    with pytest.raises(UsageError, match="timeline: tail=nan"):
        Timeline(tail=float("nan"))
    with pytest.raises(UsageError, match="Some Model has text and video in one joint attention; leave timeline out"):
        Timeline().parts(target("joint"))


def test_events_shorter_than_a_latent_frame_are_refused_before_anything_runs():
    grid = VideoGrid(frames=5, rows=1, cols=1, stride=4, fps=8)
    Timeline().read("a | b").spans(grid)
    Timeline().read([(0, 1, "a"), (1, 1.5, "b"), "c"]).spans(grid)
    with pytest.raises(UsageError, match="timeline: event 2 lasts 0.3 s, from 1 s to 1.3 s.* needs at least 0.5 s"):
        Timeline().read([(0, 1, "a"), (1, 1.3, "b"), "c"]).spans(grid)
    with pytest.raises(UsageError, match="timeline: event 1 runs from 0 s to 3 s.* the video's 2.125 s"):
        Timeline().read([(0, 3, "a")]).spans(grid)
