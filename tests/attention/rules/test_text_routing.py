"""Text routing: each frame reads the words of its own event."""

from dataclasses import replace
from functools import partial
from math import log

import pytest
import torch
import torch.nn.functional as F

from genkit.attention.calls.call import Call, Step
from genkit.attention.calls.dense import dense
from genkit.attention.calls.events import Events
from genkit.attention.calls.run import RunRecord
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.windows import Window
from genkit.attention.rules.text_routing import TextRoutingRule, check_events, event_costs

WORDS = 3
GRID = VideoGrid(frames=5, rows=2, cols=2, fps=8)  # frames begin at 0, 0.125, 0.625, 1.125, 1.625 and end at 2.125 s
UNET = VideoGrid(frames=5, rows=2, cols=2, fps=2, stride=1, fold="time")
HALVES = [(0.0, 1.0), (1.0, 2.125)]


def call_of(grid, spans, branches=("cond",), **changes):
    run = RunRecord()
    if spans is not None:
        run.events = Events(lambda whole: spans)
    step = Step(branches=branches)
    return Call(layer="attn2", depth=0, kind="cross", grid=grid, step=step, run=run, **changes)


def qkv(grid, events, dtype=torch.float64, batch=2):
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    batch *= grid.frames if grid.fold == "time" else 1
    q, k, v = draw(batch, 2, grid.tokens, 8), draw(batch, 2, events * WORDS, 8), draw(batch, 2, events * WORDS, 8)
    return q.to(dtype), k.to(dtype), v.to(dtype)


def routed(tail=0.33):
    return TextRoutingRule(tail=tail).wrap(dense)


def by_hand(q, k, v, costs, grid, mask=0.0):
    """Softmax with each frame's costs subtracted from its logits, token by token."""
    frames = torch.arange(grid.frames)
    words = costs.to(q.dtype).repeat_interleave(WORDS, dim=1)
    if grid.fold == "time":
        bias = words[frames.repeat(len(q) // grid.frames)][:, None, None]
    else:
        bias = words[grid.frame_of_token()]
    return (q @ k.mT / 8**0.5 - bias + mask).softmax(-1) @ v


def test_costs_of_a_hand_made_timeline():
    """Middles of the frames: 0.0625, 0.375, 0.875, 1.375, 1.875 s."""
    costs = event_costs(GRID, HALVES, 0.5)
    assert costs.dtype == torch.float32
    unit = log(1000) / 0.25
    expected = [[0, unit * away**2] for away in (0.9375, 0.625, 0.125)] + [
        [unit * away**2, 0] for away in (0.375, 0.875)
    ]
    torch.testing.assert_close(costs, torch.tensor(expected).clamp_max(60))


def test_the_cost_is_ln_1000_at_the_tail_and_0_on_the_plateau():
    for tail in (0.1, 0.33, 1.0):
        spans = [(0.0, 1.375 - tail), (1.375 - tail, 2.125)]
        costs = event_costs(GRID, spans, tail)
        assert float(costs[3, 0]) == pytest.approx(log(1000), rel=1e-5)
        assert float(costs[3, 1]) == 0
        assert (costs.min(dim=1).values == 0).all()


@pytest.mark.parametrize("tail", [0.0, 1e-6, 0.1, 0.33, 5.0])
def test_no_frame_is_left_without_words(tail):
    """Events with gaps before, between and after them: the nearest one holds."""
    grid = VideoGrid(frames=33, rows=1, cols=1, fps=16)
    costs = event_costs(grid, [(1.0, 2.0), (4.0, 4.5), (6.0, 7.0)], tail)
    assert not costs.isnan().any() and (costs >= 0).all()
    assert (costs.min(dim=1).values == 0).all()
    middles = torch.tensor([sum(grid.seconds(frame)) / 2 for frame in range(33)])
    nearest = (middles >= 3.0).int() + (middles >= 5.25).int()
    assert torch.equal(costs.gather(1, nearest[:, None].long()), torch.zeros(33, 1))


def test_a_hard_cut_has_one_event_a_frame_even_on_the_border():
    costs = event_costs(GRID, [(0.0, 0.875), (0.875, 2.125)], 0.0)
    assert (costs == 0).int().argmax(dim=1).tolist() == [0, 0, 1, 1, 1]
    assert costs.isinf().sum(dim=1).tolist() == [1] * 5


def test_a_window_uses_the_time_of_the_whole_video():
    assert torch.equal(event_costs(GRID.crop(2, 5), HALVES, 0.5), event_costs(GRID, HALVES, 0.5)[2:])


@pytest.mark.parametrize("grid", [GRID, UNET], ids=["tokens", "frames in the batch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_event_is_not_touched(grid, dtype):
    q, k, v = qkv(grid, 1, dtype)
    call = call_of(grid, [(0.0, grid.pixel_frames / grid.fps)])
    assert torch.equal(routed()(q, k, v, call), F.scaled_dot_product_attention(q, k, v))
    assert torch.equal(routed()(q, k, v, call_of(grid, None)), F.scaled_dot_product_attention(q, k, v))
    assert "text routing" not in call.run.backends


def test_the_negative_prompt_is_not_touched():
    q, k, v = qkv(GRID, 1)
    out = routed()(q, k, v, call_of(GRID, HALVES, ("uncond",)))
    assert torch.equal(out, F.scaled_dot_product_attention(q, k, v))


@pytest.mark.parametrize("tail", [0.0, 0.5])
@pytest.mark.parametrize("grid", [GRID, UNET], ids=["tokens", "frames in the batch"])
def test_equal_texts_give_what_one_text_gives(grid, tail):
    """So it is for the negative half of a batch: copies of one text, however weighted, are that text."""
    q, k, v = qkv(grid, 1)
    out = routed(tail)(q, k.repeat(1, 1, 3, 1), v.repeat(1, 1, 3, 1), call_of(grid, [(0, 0.7), (0.7, 1.4), (1.4, 2.1)]))
    torch.testing.assert_close(out, F.scaled_dot_product_attention(q, k, v))


@pytest.mark.parametrize("grid", [GRID, UNET], ids=["tokens", "frames in the batch"])
def test_a_hard_cut_reads_the_own_words_only(grid):
    q, k, v = qkv(grid, 2)
    spans = HALVES
    owner = (event_costs(grid, spans, 0.0) == 0).int().argmax(dim=1)
    assert sorted(set(owner.tolist())) == [0, 1]
    k[:, :, WORDS:] *= 100  # even where other words would attract far more
    out = routed(0.0)(q, k, v, call_of(grid, spans))
    for event in (0, 1):
        words = slice(event * WORDS, (event + 1) * WORDS)
        alone = F.scaled_dot_product_attention(q, k[:, :, words], v[:, :, words])
        if grid.fold == "time":
            mine = owner.repeat(2) == event
            torch.testing.assert_close(out[mine], alone[mine])
        else:
            mine = owner[grid.frame_of_token()] == event
            torch.testing.assert_close(out[:, :, mine], alone[:, :, mine])


@pytest.mark.parametrize("grid", [GRID, UNET], ids=["tokens", "frames in the batch"])
def test_routing_is_a_bias_on_the_logits(grid):
    spans = [(0.0, 0.6), (0.6, 1.3), (1.5, 2.1)]
    q, k, v = qkv(grid, 3)
    call = call_of(grid, spans)
    out = routed(0.4)(q, k, v, call)
    torch.testing.assert_close(out, by_hand(q, k, v, event_costs(grid, spans, 0.4), grid))
    assert call.run.backends == {"text routing": 1}


def test_frames_in_the_batch_equal_frames_in_the_sequence():
    flat = VideoGrid(frames=5, rows=2, cols=2, fps=2, stride=1)
    q, k, v = qkv(flat, 2)
    out = routed(0.5)(q, k, v, call_of(flat, HALVES))
    folded = q.unflatten(2, (5, 4)).transpose(1, 2).flatten(0, 1)
    keys, values = (x.repeat_interleave(5, dim=0) for x in (k, v))
    other = routed(0.5)(folded, keys, values, call_of(UNET, HALVES))
    torch.testing.assert_close(other.unflatten(0, (2, 5)).transpose(1, 2).flatten(2, 3), out)


@pytest.mark.parametrize("rows", [1, GRID.tokens], ids=["keys", "queries and keys"])
@pytest.mark.parametrize("additive", [False, True], ids=["bool", "additive"])
@pytest.mark.parametrize("tail", [0.0, 0.5])
def test_the_models_own_mask_still_holds(tail, additive, rows):
    """LTX hides the padding of each text with an additive mask for each sample."""
    q, k, v = qkv(GRID, 2)
    padding = torch.ones(2, 1, rows, 2 * WORDS, dtype=torch.bool)
    padding[0, ..., 2] = False
    padding[1, ..., 4:] = False
    if rows > 1:
        padding[..., 8:, 0] = False
    mask = torch.zeros(padding.shape, dtype=q.dtype).masked_fill(~padding, -1e4) if additive else padding
    before = routed(tail)(q, k, v, call_of(GRID, HALVES, mask=mask))
    hidden = torch.zeros(padding.shape, dtype=q.dtype).masked_fill(~padding, float("-inf"))
    torch.testing.assert_close(before, by_hand(q, k, v, event_costs(GRID, HALVES, tail), GRID, hidden))
    k[0, :, 2], v[1, :, 4:] = 0.5, 1e3
    assert torch.equal(routed(tail)(q, k, v, call_of(GRID, HALVES, mask=mask)), before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("tail", [0.0, 1e-4, 0.5])
@pytest.mark.parametrize("grid", [GRID, UNET], ids=["tokens", "frames in the batch"])
def test_half_precision_stays_finite(grid, tail, dtype):
    q, k, v = qkv(grid, 2, dtype)
    mask = torch.zeros(1, 1, 1, 2 * WORDS, dtype=dtype)
    mask[..., -1] = torch.finfo(dtype).min
    out = routed(tail)(q, k, v, call_of(grid, HALVES, mask=mask))
    assert out.dtype == dtype and out.isfinite().all()


def test_scale_and_options_of_the_model_are_kept():
    q, k, v = qkv(GRID, 2)
    few = k[:, :1], v[:, :1]
    out = routed(0.5)(q, *few, call_of(GRID, HALVES, scale=0.1, options={"enable_gqa": True}))
    torch.testing.assert_close(out, by_hand(q * 0.1 * 8**0.5, *few, event_costs(GRID, HALVES, 0.5), GRID))


def test_every_event_must_own_a_latent_frame():
    check_events(GRID, HALVES)
    check_events(GRID, [(0, 0.3), (0.3, 0.8), (0.8, 1.3), (1.3, 1.8), (1.8, 2.125)])
    sentence = "event 2 lasts 0.4 s, from 0.4 s to 0.8 s, and falls between two latent frames; .* at least 0.5 s"
    spans = [(0, 0.4), (0.4, 0.8), (0.8, 2.125)]
    with pytest.raises(ValueError, match=sentence):
        check_events(GRID, spans)
    with pytest.raises(ValueError, match=sentence):
        routed()(*qkv(GRID, 3), call_of(GRID, spans))


def test_events_of_the_least_seconds_are_never_refused():
    wan, unet = VideoGrid(frames=21, rows=1, cols=1, fps=16), VideoGrid(frames=16, rows=1, cols=1, stride=1, fps=8)
    for grid in (GRID, wan, unet):
        least, seconds = grid.stride / grid.fps, grid.pixel_frames / grid.fps
        for begin in torch.linspace(0.001, seconds - least - 0.001, 97).tolist():
            spans = [(0.0, begin), (begin, begin + least), (begin + least, seconds)]
            refused = [number for number in range(3) if number not in _owners(grid, spans)]
            assert all(spans[number][1] - spans[number][0] < least for number in refused)
            assert 1 not in refused


def _owners(grid, spans):
    return set((event_costs(grid, spans, 0.0) == 0).int().argmax(dim=1).tolist())


def test_keys_that_are_not_the_events_texts_are_refused():
    q, k, v = qkv(GRID, 2)
    with pytest.raises(ValueError, match="attn2 has 5 text keys, not the same number for each of 2 events"):
        routed()(q, k[:, :, :5], v[:, :, :5], call_of(GRID, HALVES))


def test_a_window_reads_the_events_of_its_own_seconds_of_the_whole_video():
    """Each frame costs what it does in a forward over all frames, and the costs are made once."""
    grid = VideoGrid(frames=9, rows=2, cols=2, fps=8)
    spans = [(0.0, 2.0), (2.0, grid.pixel_frames / 8)]
    q, k, v = qkv(grid, 2)
    call, asked = call_of(grid, None), []
    call.run.events = Events(lambda whole: asked.append(whole) or spans)
    whole = routed()(q, k, v, call)
    for begin in (0, 3, 5):
        window = Window(begin, begin + 4, 9)
        here = replace(call, grid=replace(grid, frames=4, start=begin), window=window)
        rows = slice(begin * 4, (begin + 4) * 4)
        torch.testing.assert_close(routed()(q[:, :, rows], k, v, here), whole[:, :, rows], rtol=0, atol=1e-12)
    assert asked == [grid] and len(call.run.memory.tables) == 1
