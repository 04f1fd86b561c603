"""Every family with every set of plug-ins: it runs, or is refused with the reason; docs/combinations.md says which.

``python tests/test_combinations.py`` writes the table anew.
"""

from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path
from unittest import mock

import families
import numpy as np
import pytest

import genkit
from genkit import catalogue
from genkit.attention.cards import card_of
from genkit.errors import UsageError

TABLE = Path(__file__).parent.parent / "docs" / "combinations.md"
PLUGINS = {
    "freelong": "freelong",
    "freenoise": "freenoise",
    "radial": "radial:density=0.5,min_tokens=1,block=16,dense_steps=0,dense_layers=0,impl=reference",
    "timeline": "timeline",
}
SETS = [names for size in (1, 2, 3) for names in combinations(sorted(PLUGINS), size)]
PROMPT = "a red circle | a blue square"


def short_native(pipe):
    """The family's card with a training length of three latent frames, so that every test clip is a long one."""
    card = card_of(pipe)
    return replace(card, native_frames=2 * card.stride(pipe) + 1)


def generated(pipe, name, names):
    """The video, or the sentence that refuses it."""
    arguments = {key: value for key, value in families.sizes(name).items() if "prompt" not in key}
    try:
        with genkit.apply(pipe, *(catalogue.parse(PLUGINS[plugin]) for plugin in names)) as plan:
            return plan.generate(PROMPT if "timeline" in names else "a red circle", seed=1, **arguments)
    except UsageError as error:
        return str(error)


@cache
def results(name):
    """What became of each set on one family, and of no plug-ins before and after."""
    pipe = families.FAMILIES[name]()
    pipe.set_progress_bar_config(disable=True)
    with mock.patch("genkit.handle.card_of", short_native):
        before = generated(pipe, name, ())
        found = {names: generated(pipe, name, names) for names in SETS}
        return before, found, generated(pipe, name, ())


@pytest.mark.parametrize("name", list(families.FAMILIES))
def test_each_set_runs_or_is_refused_and_nothing_stays_behind(name):
    before, found, after = results(name)
    assert np.array_equal(before.frames, after.frames)
    for names, video in found.items():
        if isinstance(video, str):
            assert len(video) > 40 and any(plugin in video for plugin in names)
            continue
        assert np.isfinite(video.frames).all()
        assert not np.array_equal(video.frames, before.frames), names
        if "radial" in names:
            sparse = video.receipt.attention.densities["radial"]
            assert sparse.min < 1 or "freenoise" in names  # its windows are small enough here to be kept whole
        if "timeline" in names:
            assert video.receipt.attention.backends["text routing"] > 0


def table():
    """The combinations as Markdown."""
    rows = ["| plug-ins | " + " | ".join(families.FAMILIES) + " |", "|---" * (len(families.FAMILIES) + 1) + "|"]
    for names in SETS:
        marks = ["no" if isinstance(results(name)[1][names], str) else "yes" for name in families.FAMILIES]
        rows.append(f"| {' + '.join(names)} | " + " | ".join(marks) + " |")
    return "\n".join(rows) + "\n"


HEAD = """# Tested combinations

Each set of plug-ins was put into a small random model of each family, through its real pipeline class, and made a
video; "no" is refused with a sentence that says why. Written by `python tests/test_combinations.py`.

"""


def test_the_documentation_says_what_was_tested():
    assert TABLE.read_text() == HEAD + table()


if __name__ == "__main__":
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(HEAD + table())
