"""What single words of a caption speak of."""

from math import log

import pytest
import torch

from genkit.tiny.training.words import TABLES, WordReader, targets
from genkit.tiny.world import caption, draw_scene, find_mentions, parse

TEXT = "a small red star spins on a navy background and a blue ring circles around"

EVENT = "a small red star moves right, then turns into a blue square on a navy background"


def test_captions_say_where_they_speak_of_which_thing() -> None:
    assert find_mentions(TEXT) == [(1, 5, True, 0, 0), (11, 15, False, 1, 0)]
    assert find_mentions(EVENT) == [(1, 6, True, 0, 0), (10, 12, True, 0, 1)]
    assert find_mentions("nothing of this world") == []


def test_every_word_of_a_thing_is_bound_to_all_of_it_and_no_other_word_to_anything() -> None:
    found = targets(TEXT, 17)
    star, ring = (
        [0, 0, 0, 5, 6, -1],
        [1, -1, 2, 3, 8, -1],
    )  # first, small, red, star, spins; second, unsaid, blue, ring, circles
    none = [-1] * 6
    assert found.tolist() == [none, *[star] * 4, *[none] * 6, *[ring] * 4, none, none]


@pytest.mark.parametrize("things", [1, 2])
def test_what_is_bound_is_what_the_caption_says(things: int) -> None:
    generator = torch.Generator().manual_seed(4)
    for _ in range(50):
        scene = draw_scene(generator, things=things, held_out=False)
        text = caption(scene, background_last=bool(torch.rand(1, generator=generator) > 0.5))
        found = targets(text, 24)
        for mention, thing in zip(find_mentions(text), parse(text).things, strict=True):
            for label in found[mention.begin : mention.end, :5].tolist():
                read = [table[i] for table, i in zip(TABLES, label, strict=False)]
                assert read[1:] == [thing.size, thing.color, thing.shape, thing.motion]


def test_words_of_an_event_speak_of_before_and_after() -> None:
    found = targets(EVENT, 18)
    star, square = [0, 0, 0, 5, 1, 0], [0, 0, 2, 1, 1, 1]  # the same thing, size and motion; red star, blue square
    none = [-1] * 6
    assert found.tolist() == [none, *[star] * 5, *[none] * 4, *[square] * 2, *[none] * 6]


def test_longer_texts_than_the_encoding_are_cut() -> None:
    assert targets(TEXT, 12).shape == (12, 6) and targets(TEXT, 12)[11].tolist() == [1, -1, 2, 3, 8, -1]


def test_a_reader_that_knows_nothing_loses_the_entropy_of_each_table() -> None:
    reader = WordReader(16)
    torch.nn.init.zeros_(reader.weight)
    torch.nn.init.zeros_(reader.bias)
    loss = reader.loss(torch.randn(2, 20, 16), [caption(parse("a large red star spins on a navy background")), ""])
    assert loss.item() == pytest.approx((log(2) + log(3) + log(8) + log(6) + log(10)) / 5, rel=1e-6)
    assert reader.loss(torch.randn(1, 20, 16), [""]).item() == 0
