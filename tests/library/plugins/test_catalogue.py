"""Plug-ins by name, and everything that is told about them."""

import dataclasses
import types
from itertools import combinations
from typing import Annotated, ClassVar

import pytest

import genkit
from genkit.errors import UsageError
from genkit.plugins import catalogue
from genkit.plugins.conflicts import APART, REASONS, check_together, conflict
from genkit.plugins.contract import CLAIMS
from genkit.plugins.longer.freelong import FreeLong
from genkit.plugins.longer.freenoise import FreeNoise
from genkit.plugins.prompts.timeline import Timeline
from genkit.plugins.sparse.radial import Radial


@pytest.mark.parametrize("name", catalogue.names())
def test_every_name_can_be_loaded_and_tells_everything(name):
    card = catalogue.describe(catalogue.plugin_class(name))
    assert card.name == name
    assert card.paper.startswith("arXiv ")
    assert set(card.seams) <= {"noise", "positions", "attention", "forward", "text", "step", "decode", "turns"}
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
        ("radial:density", "'density' is not a parameter; write name=value"),
        ("radial:density=much", "radial: density='much' is not of type float or None"),
        ("radial:density=1.5", r"density=1.5 must be in \(0, 1\]"),
        ("radial:density=0", r"density=0.0 must be in \(0, 1\]"),
        ("radial:decay=-1", "decay=-1.0 must be more than 0"),
        ("radial:dense_steps=12", r"dense_steps=12.0 is a share of the steps and must be in \[0, 1\]"),
        ("radial:dense_layers=-1", "dense_layers=-1 must be at least 0"),
        ("radial:block=0.5", "radial: block='0.5' is not of type int or None"),
        (
            "radial:impl=cuda",
            "radial: impl='cuda' is not of type 'auto' or 'triton' or 'gather' or 'flex' or 'xformers' or 'reference'",
        ),
        ("freenoise:window=1", "window=1 must be at least 2"),
        ("freenoise:stride=0", "stride=0 must be at least 1"),
        ("freelong:until=2", r"until=2.0 is a share of the steps and must be in \[0, 1\]"),
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
    claims: ClassVar[frozenset[str]] = frozenset()

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


CLASSES = [catalogue.plugin_class(name) for name in catalogue.names()]


@pytest.mark.parametrize(("one", "other"), list(combinations(CLASSES, 2)), ids=lambda cls: cls.name)
def test_two_plugins_with_one_claim_are_refused_and_no_others_but_the_exceptions(one, other):
    pair = frozenset({one.name, other.name})
    claimed = sorted(one.claims & other.claims)
    assert conflict(one, other) == conflict(other, one)
    if pair in REASONS:
        assert conflict(one, other) == REASONS[pair]
    elif claimed:
        rule = f"both claim {' and '.join(claimed)}, and only one plug-in can have a claim; leave one out"
        assert conflict(one, other) == rule
    elif apart := [reason for claims, reason in APART.items() if claims <= one.claims | other.claims]:
        assert [conflict(one, other)] == apart
    else:
        assert conflict(one, other) is None


def test_claims_are_known_words_and_the_methods_that_share_one_are_these():
    for cls in CLASSES:
        assert isinstance(cls.claims, frozenset) and cls.claims <= set(CLAIMS)
    sharing = {claim: {cls.name for cls in CLASSES if claim in cls.claims} for claim in CLAIMS}
    assert len(sharing["sparse attention"]) == 9 and len(sharing["step cache"] - {"fifo"}) == 4
    assert sharing["attention windows"] == {"freelong", "freenoise", "windows"}
    assert {"freelong", "freenoise"} <= sharing["noise"] and {"fifo", "windows"} == sharing["windows"]


def test_a_plugin_that_does_not_declare_its_claims_is_refused(monkeypatch):
    bare = types.SimpleNamespace(name="bare")
    with pytest.raises(UsageError, match="the plug-in bare does not declare what it claims; give its class a `claims"):
        check_together([bare])
    monkeypatch.setitem(catalogue.PLUGINS, "unfinished", "fractions:Fraction")
    with pytest.raises(
        UsageError, match=r"'unfinished' \(fractions:Fraction\) has no 'name'; a plug-in declares name, "
    ):
        catalogue.plugin_class("unfinished")


def test_claims_of_other_packages_count_as_well():
    one = types.SimpleNamespace(name="one", claims=frozenset({"light", "noise", "sound"}))
    other = types.SimpleNamespace(name="other", claims=frozenset({"sound", "light"}))
    with pytest.raises(UsageError, match="one and other cannot be combined: both claim light and sound, and only"):
        check_together([one, Radial(), other])
    with pytest.raises(UsageError, match="freelong and one cannot be combined: both claim noise, and only"):
        check_together([FreeLong(), one])


def test_installed_plugins_may_not_replace_ours(monkeypatch):
    entry = dataclasses.make_dataclass("Entry", ["name", "value"])("radial", "other:Radial")
    monkeypatch.setattr(catalogue, "entry_points", lambda group: [entry])
    with pytest.raises(UsageError, match="may not replace built-in ones: radial"):
        catalogue.names()
