"""Plug-ins by name, and everything that is told about them."""

import dataclasses
from itertools import combinations
from typing import Annotated, ClassVar

import pytest

import genkit
from genkit.errors import UsageError
from genkit.plugins import catalogue
from genkit.plugins.conflicts import REASONS, conflict
from genkit.plugins.longer.freelong import FreeLong
from genkit.plugins.longer.freenoise import FreeNoise
from genkit.plugins.prompts.timeline import Timeline
from genkit.plugins.sparse.radial import Radial


@pytest.mark.parametrize("name", catalogue.names())
def test_every_name_can_be_loaded_and_tells_everything(name):
    card = catalogue.describe(catalogue.plugin_class(name))
    assert card.name == name
    assert card.paper.startswith("arXiv ")
    assert set(card.seams) <= {"noise", "positions", "attention", "text", "step"}
    assert card.summary.endswith(".")
    for parameter in card.parameters:
        assert parameter.description.rstrip().endswith("."), parameter
    cls = catalogue.plugin_class(name)
    assert getattr(genkit, cls.__name__) is cls, "every plug-in is public"


@pytest.mark.parametrize(
    ("text", "plugin"),
    [
        ("radial", Radial()),
        ("radial:density=0.3,block=64", Radial(density=0.3, block=64)),
        ("Radial: impl=flex , dense-steps=0", Radial(impl="flex", dense_steps=0.0)),
        ("freenoise:window=none", FreeNoise()),
        ("freelong:noise=plain,until=0.5", FreeLong(noise="plain", until=0.5)),
        ("timeline:everywhere=a quiet room", Timeline(everywhere="a quiet room")),
        ("timeline:everywhere='a quiet, dark room',tail=0", Timeline(everywhere="a quiet, dark room", tail=0.0)),
        ('timeline:everywhere="it\'s late, here"', Timeline(everywhere="it's late, here")),
    ],
)
def test_texts_become_plugins_and_back(text, plugin):
    assert catalogue.parse(text) == plugin
    assert catalogue.parse(catalogue.text_of(plugin)) == plugin


def test_the_text_names_only_what_differs():
    assert catalogue.text_of(Radial(density=0.3)) == "radial:density=0.3"
    assert catalogue.text_of(FreeNoise()) == "freenoise"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("radail", "no plug-in called 'radail'; did you mean 'radial'"),
        ("radial:densty=0.3", "radial has no parameter 'densty'; did you mean 'density'"),
        ("radial:density", "'density' is no parameter; write name=value"),
        ("radial:density=much", "radial: density='much' is not of type float or None"),
        ("radial:density=1.5", r"density=1.5 must lie in \(0, 1\]"),
        ("radial:density=0", r"density=0.0 must lie in \(0, 1\]"),
        ("radial:decay=-1", "decay=-1.0 must be more than 0"),
        ("radial:dense_steps=12", r"dense_steps=12.0 is a share of the steps and must lie in \[0, 1\]"),
        ("radial:dense_layers=-1", "dense_layers=-1 must be at least 0"),
        ("radial:block=0.5", "radial: block='0.5' is not of type int or None"),
        (
            "radial:impl=cuda",
            "radial: impl='cuda' is not of type 'auto' or 'triton' or 'gather' or 'flex' or 'xformers' or 'reference'",
        ),
        ("freenoise:window=1", "window=1 must be at least 2"),
        ("freenoise:stride=0", "stride=0 must be at least 1"),
        ("freelong:until=2", r"until=2.0 is a share of the steps and must lie in \[0, 1\]"),
        ("freelong:cutoff_time=0", "cutoff_time=0.0 must be more than 0"),
        ("freelong:near=0", "near=0 must be at least 1"),
        ("timeline:tail=-1", "tail=-1.0 is a time in seconds and must be at least 0"),
    ],
)
def test_mistakes_get_a_sentence(text, message):
    with pytest.raises(UsageError, match=message):
        catalogue.parse(text)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parent:
    """What several plug-ins share."""

    first: int = 1
    """Number of the parent."""
    second: float = 0.5
    """Share of the parent."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Child(Parent):
    """A plug-in.

    With more to say.
    """

    name: ClassVar[str] = "child"
    title: ClassVar[str] = "Child"
    paper: ClassVar[str] = "arXiv 0"
    seams: ClassVar[tuple[str, ...]] = ()

    third: Annotated[tuple[int, ...], "numbers"] = (1, 2)
    """Numbers of the child."""
    second: float = 0.25
    """Share of the child."""


def test_a_plugin_tells_its_own_parameters_first_and_what_its_parents_say():
    card = catalogue.describe(Child)
    told = [(entry.name, entry.type, entry.default, entry.description) for entry in card.parameters]
    assert told == [
        ("third", "numbers", (1, 2), "Numbers of the child."),
        ("first", "int", 1, "Number of the parent."),
        ("second", "float", 0.25, "Share of the child."),
    ]
    assert catalogue.text_of(Child(second=0.5, first=3, third=())) == "child:third=none,first=3,second=0.5"
    for value, read in (("none", ()), ("4", (4,)), ("4x5", (4, 5)), ([4, 5], (4, 5))):
        assert catalogue.make(Child, {"third": value}) == Child(third=read)
    with pytest.raises(UsageError, match="child: third='4x' is not of type numbers"):
        catalogue.make(Child, {"third": "4x"})


def test_true_is_not_a_number():
    with pytest.raises(UsageError, match="is not of type"):
        catalogue.make(Radial, {"density": True})


def test_conflicts_name_real_plugins_and_are_symmetric():
    for pair, reason in REASONS.items():
        one, other = sorted(pair)
        assert {one, other} <= set(catalogue.names())
        first, second = catalogue.plugin_class(one), catalogue.plugin_class(other)
        assert conflict(first, second) == conflict(second, first) == reason
    assert "only once" in conflict(Radial, Radial())
    assert conflict(Radial, FreeLong) is None


def test_a_pipeline_takes_one_plugin_of_each_choice():
    classes = [catalogue.plugin_class(name) for name in catalogue.names()]
    choices = [getattr(cls, "choice", None) for cls in classes]
    assert choices.count("sparse attention") == 9 and choices.count("step cache") == 4 and None in choices
    for one, other in combinations(classes, 2):
        mine, others = (getattr(cls, "choice", None) for cls in (one, other))
        same = mine is not None and mine == others
        assert (f"both are a kind of {mine}" in (conflict(one, other) or "")) == same


def test_installed_plugins_may_not_replace_ours(monkeypatch):
    entry = dataclasses.make_dataclass("Entry", ["name", "value"])("radial", "other:Radial")
    monkeypatch.setattr(catalogue, "entry_points", lambda group: [entry])
    with pytest.raises(UsageError, match="may not replace built-in ones: radial"):
        catalogue.names()
