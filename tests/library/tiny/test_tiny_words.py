"""What single words of a caption speak of."""

from math import log

import pytest
import torch

from genkit.tiny.words import TABLES, WordReader, targets
from genkit.tiny.world import caption, draw_scene, find_things, parse

TEXT = "a small red star spins on a navy background and a blue ring circles around"


def test_captions_say_where_they_speak_of_which_thing() -> None:
    assert find_things(TEXT) == [(1, 5, True), (11, 15, False)]
    assert find_things("nothing of this world") == []


def test_every_word_of_a_thing_is_bound_to_all_of_it_and_no_other_word_to_anything() -> None:
    found = targets(TEXT, 17)
    star, ring = (
        [0, 0, 0, 5, 6],
        [1, -1, 2, 3, 8],
    )  # first, small, red, star, spins; second, unsaid, blue, ring, circles
    none = [-1] * 5
    assert found.tolist() == [none, *[star] * 4, *[none] * 6, *[ring] * 4, none, none]


@pytest.mark.parametrize("things", [1, 2])
def test_what_is_bound_is_what_the_caption_says(things: int) -> None:
    generator = torch.Generator().manual_seed(4)
    for _ in range(50):
        scene = draw_scene(generator, things=things, held_out=False)
        text = caption(scene, background_last=bool(torch.rand(1, generator=generator) > 0.5))
        found = targets(text, 24)
        for (begin, end, _), thing in zip(find_things(text), parse(text).things, strict=True):
            for label in found[begin:end].tolist():
                read = [table[i] for table, i in zip(TABLES, label, strict=True)]
                assert read[1:] == [thing.size, thing.color, thing.shape, thing.motion]


def test_longer_texts_than_the_encoding_are_cut() -> None:
    assert targets(TEXT, 12).shape == (12, 5) and targets(TEXT, 12)[11].tolist() == [1, -1, 2, 3, 8]


def test_a_reader_that_knows_nothing_loses_the_entropy_of_each_table() -> None:
    reader = WordReader(16)
    torch.nn.init.zeros_(reader.weight)
    torch.nn.init.zeros_(reader.bias)
    loss = reader.loss(torch.randn(2, 20, 16), [caption(parse("a large red star spins on a navy background")), ""])
    assert loss.item() == pytest.approx((log(2) + log(3) + log(8) + log(6) + log(10)) / 5, rel=1e-6)
    assert reader.loss(torch.randn(1, 20, 16), [""]).item() == 0
