"""Sets of plug-ins in every family: each runs, or is refused with the reason; docs/combinations.md says which.

``make combinations`` writes the table anew.
"""

from functools import cache
from itertools import combinations
from unittest import mock

import families
import numpy as np
import pytest
from sparse_settings import SPARSE, short_native, text
from tree import TOP

import genkit
from genkit.errors import UsageError
from genkit.plugins import catalogue
from genkit.plugins.contract import CLAIMS

TABLE = TOP / "docs" / "combinations.md"
CACHES = {
    "first-block-cache": "first-block-cache:threshold=9",
    "mag-cache": "mag-cache:mag_ratios=1x1.02,threshold=9",
    "pab": "pab:spatial_attention_timestep_skip_range=-1x1001",
    "taylor-seer": "taylor-seer:cache_interval=2,disable_cache_before_step=1",
}
"""Set so that the second step of a model is skipped."""
OTHERS = {name: name for name in ("freelong", "freenoise", "timeline")}
LATER = {
    **{name: name for name in ("fifo", "position-interpolation", "stream-decode", "windows")},
    **{name: name for name in ("ntk", "temporal-regularization", "ultravico", "yarn")},
    "riflex": "riflex:k=1,n_k=1,margin=0.01",  # else it leaves so short a video as it is
}
SEAMS = {
    "noise": "freenoise",
    "positions": "position-interpolation",
    "attention": "radial",
    "branches": "freelong",
    "text": "timeline",
    "forward": "windows",
    "turns": "fifo",
    "step cache": "pab",
    "decode": "stream-decode",
}
"""One plug-in for each seam; every two of them are put into every family."""
PLUGINS = OTHERS | LATER | CACHES | {name: text(SPARSE, name) for name in SPARSE}
THOROUGH = {"radial", "threshold"}
"""The sparse methods that are put together with two others as well."""
FEW = ("wan", "hunyuan", "cogvideox")
"""Text apart, text last with padding, and text first with both guidance branches in a batch."""
PROMPT = "a red circle | a blue square"


def is_pair_of_seams(names):
    """Whether a set is two plug-ins that stand for two seams."""
    return len(names) == 2 and set(names) <= set(SEAMS.values())


def is_wanted(names):
    """Whether a set is run; two of a kind are refused whatever the model, see ``test_catalogue.py``."""
    sparse, caches, others = (set(names) & kind.keys() for kind in (SPARSE, CACHES, OTHERS))
    if len(names) == 1 or is_pair_of_seams(names):
        return True
    if len(sparse) > 1 or len(caches) > 1 or LATER.keys() & set(names):
        return False
    if sparse and caches:
        return sparse <= THOROUGH and not others
    return len(names) < 3 or sparse <= THOROUGH and not caches


SETS = [names for size in (1, 2, 3) for names in combinations(sorted(PLUGINS), size) if is_wanted(names)]


def is_for(names, family):
    """Whether a set is run on a family: one plug-in, and what was there before the other methods came, on all."""
    return family in FEW or len(names) == 1 or is_pair_of_seams(names) or set(names) <= OTHERS.keys() | {"radial"}


def generated(pipe, name, names):
    """The video, or the sentence that refuses it."""
    arguments = {key: value for key, value in families.sizes(name).items() if "prompt" not in key}
    try:
        with genkit.apply(pipe, *(catalogue.parse(PLUGINS[plugin]) for plugin in names)) as handle:
            return handle.generate(PROMPT if "timeline" in names else "a red circle", seed=1, **arguments)
    except UsageError as error:
        return str(error)


@cache
def results(name):
    """What became of each set on one family, and of no plug-ins before and after."""
    pipe = families.FAMILIES[name]()
    pipe.set_progress_bar_config(disable=True)
    with mock.patch("genkit.generation.context.card_of", short_native):
        before = generated(pipe, name, ())
        found = {names: generated(pipe, name, names) for names in SETS if is_for(names, name)}
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
        if names != ("stream-decode",):  # which changes memory and no frame
            assert not np.array_equal(video.frames, before.frames), names
        for sparse in SPARSE.keys() & set(names):
            density = video.receipt.attention.densities[sparse]
            assert density.min < 1 or "freenoise" in names  # its windows are small enough here to be kept whole
        if CACHES.keys() & set(names):
            assert sum(model.calls for model in video.receipt.attention.skipped.values()) > 0
        if "timeline" in names:
            assert video.receipt.attention.backends["text routing"] > 0


MARKS = {str: "no", genkit.Video: "yes", type(None): "-"}


def table():
    """The combinations as Markdown."""
    rows = ["| plug-ins | " + " | ".join(families.FAMILIES) + " |", "|---" * (len(families.FAMILIES) + 1) + "|"]
    for names in SETS:
        marks = [MARKS[type(results(name)[1].get(names))] for name in families.FAMILIES]
        rows.append(f"| {' + '.join(names)} | " + " | ".join(marks) + " |")
    return "\n".join(rows) + "\n"


HEAD = """# Tested combinations

Two plug-ins with one claim are always refused together, whatever the model:

{claims}
Each other set of plug-ins was put into a small random model of each family, through its real pipeline class, and made a
video; "no" is refused with the reason, "-" was not run. Written by `make combinations`.

"""


def claims():
    """What plug-ins claim, as Markdown."""
    cards = [catalogue.describe(catalogue.plugin_class(name)) for name in catalogue.names()]
    known = dict(CLAIMS) | {claim: "" for card in cards for claim in card.claims if claim not in CLAIMS}
    rows = ["| claim | what that is | claimed by |", "|---|---|---|"]
    for claim, what in known.items():
        names = [card.name for card in cards if claim in card.claims]
        rows += [f"| {claim} | {what} | {', '.join(names)} |"] if names else []
    return "\n".join(rows) + "\n"


def page():
    """The whole page."""
    return HEAD.format(claims=claims()) + table()


def test_the_documentation_says_what_was_tested():
    assert TABLE.read_text() == page()


if __name__ == "__main__":
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(page())
