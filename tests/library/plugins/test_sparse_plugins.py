"""The plug-ins of the sparse methods by their values: defaults, messages, texts, the page, and what the rule gets."""

import dataclasses
import json
from itertools import combinations
from typing import Any

import pytest

from genkit.apps.page import form, plugin_fields
from genkit.attention.planning.rule import SparseRule
from genkit.errors import UsageError
from genkit.pipelines.known import checkpoints
from genkit.plugins import catalogue
from genkit.plugins.conflicts import check_together, conflict
from genkit.plugins.contract import Target
from genkit.plugins.longer.freelong import FreeLong
from genkit.plugins.longer.freenoise import FreeNoise
from genkit.plugins.sparse import properties
from genkit.plugins.sparse.method import Sparse

PAPERS: dict[str, dict[str, Any]] = {
    "adaspa": {
        "density": 0.2, "adaptive": True, "searches": (30 / 50,), "first_frame": False, "dense_steps": 10 / 50,
        "dense_layers": 0,
    },
    "frame-anchors": {"near": 3, "first": 1, "key_frames": None, "rotate": True, "dense_steps": 0, "dense_layers": 0},
    "radial": {"density": None, "decay": None, "rule": "corrected", "dense_steps": 12 / 50, "dense_layers": 1},
    "sliding-tile": {"tile": (6, 8, 8), "window": (3, 3, 3), "dense_steps": 12 / 50, "dense_layers": 0},
    "sparge": {"choose": "topk", "density": 0.5, "mass": 0.98, "similarity": -0.1, "first_frame": False},
    "svg": {"density": 0.3, "rows": 64, "first_frame": None, "dense_steps": 0.2, "dense_layers": 1},
    "svg2": {"top_p": 0.9, "min_share": 0.1, "query_cluster": 256, "key_cluster": 76, "rounds": 2, "dense_steps": 0.2},
    "threshold": {"tau": 1.0, "first_frame": False, "dense_steps": 0.2, "dense_layers": 1},
    "vmoba": {
        "threshold": 0.25, "time": 2, "space": (3, 4), "both": (4, 6, 4), "dense_steps": 0.25, "dense_layers": 0,
    },
}  # fmt: skip
"""What the sources say, with steps as shares of theirs; 3 % of the layers (SVG) is 1 of 40."""
SHARED: dict[str, Any] = {
    "block": 32, "recall": 0.9, "max_density": 0.8, "dense_steps": 0.5, "dense_sigma": 0.7, "dense_layers": 3,
    "min_tokens": 10, "impl": "reference",
}  # fmt: skip
OTHERS: dict[str, dict[str, Any]] = {
    "adaspa": {"density": 0.4, "adaptive": False, "searches": (0.3, 0.7), "order": "morton", "first_frame": True},
    "frame-anchors": {"near": 1, "first": 2, "key_frames": 4, "rotate": False},
    "radial": {"density": 0.4, "decay": 0.5, "rule": "published", "first_frame": False},
    "sliding-tile": {"tile": (2, 4, 3), "window": (5, 1, 3)},
    "sparge": {
        "choose": "cdf", "density": 0.4, "mass": 0.9, "similarity": 0.25, "order": "morton-2d", "first_frame": True,
    },
    "svg": {"density": 0.4, "rows": 16, "first_frame": False},
    "svg2": {
        "top_p": 0.8, "min_share": 0.2, "query_cluster": 64, "key_cluster": 32, "first_rounds": 4, "rounds": 1,
        "tail": True,
    },
    "threshold": {"tau": -1.5, "first_frame": True, "order": "morton"},
    "vmoba": {"threshold": 0.5, "time": 3, "space": (2, 5), "both": (2, 3, 5)},
}  # fmt: skip
"""Another value for every field of the method itself."""

NAMES = sorted(PAPERS)
WAN = Target(family="f", title="F", native_frames=5, kinds=frozenset({"self", "cross"}))
JOINT = dataclasses.replace(WAN, kinds=frozenset({"joint"}))
UNET = dataclasses.replace(WAN, title="Some UNet", kinds=frozenset({"temporal", "spatial", "cross"}))


def sparse(name: str, **values: Any) -> Sparse:
    found = catalogue.make(catalogue.plugin_class(name), values)
    assert isinstance(found, Sparse)
    return found


def rule_of(plugin: Sparse, target: Target = WAN) -> SparseRule:
    (rule,) = plugin.parts(target).rules
    assert isinstance(rule, SparseRule)
    return rule


def changed(name: str) -> list[Sparse]:
    """The plug-in with every field changed: ``recall`` and ``budget`` in one each, since they exclude one another."""
    with_budget = SHARED | {"recall": None, "budget": "a, 'b'.json"}
    return [sparse(name, **OTHERS[name], **SHARED), sparse(name, **OTHERS[name], **with_budget)]


def test_these_are_all_of_them() -> None:
    chosen = [name for name in catalogue.names() if issubclass(catalogue.plugin_class(name), Sparse)]
    assert chosen == NAMES == sorted(OTHERS)


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_the_papers(name: str) -> None:
    plugin = sparse(name)
    assert {field: getattr(plugin, field) for field in PAPERS[name]} == PAPERS[name]
    assert (plugin.block, plugin.recall, plugin.max_density, plugin.budget, plugin.impl) == (
        None,
        None,
        1.0,
        None,
        "auto",
    )


@pytest.mark.parametrize("name", NAMES)
def test_texts_json_and_the_page_keep_every_field(name: str) -> None:
    default = sparse(name)
    for plugin in changed(name):
        for field in dataclasses.fields(plugin):
            excluded = "budget" if plugin.recall else "recall"
            assert field.name == excluded or getattr(plugin, field.name) != getattr(default, field.name), field.name
        assert catalogue.parse(catalogue.text_of(plugin)) == plugin
        assert catalogue.make(type(plugin), json.loads(json.dumps(dataclasses.asdict(plugin)))) == plugin
        shown = plugin_fields.settings(catalogue.text_of(plugin))
        assert plugin_fields.make_plugin(name, shown) == dataclasses.replace(plugin, budget=None)
    assert (
        catalogue.text_of(default) == name and plugin_fields.make_plugin(name, plugin_fields.settings(name)) == default
    )


@pytest.mark.parametrize("name", NAMES)
def test_its_own_parameters_come_first_and_all_are_described(name: str) -> None:
    card = catalogue.describe(catalogue.plugin_class(name))
    shared = [
        "block",
        "budget",
        "recall",
        "max_density",
        "dense_steps",
        "dense_sigma",
        "dense_layers",
        "min_tokens",
        "impl",
    ]
    assert [entry.name for entry in card.parameters] == [*OTHERS[name], *shared]
    assert all(entry.description.endswith(".") for entry in card.parameters)
    assert card.seams == ("attention",)
    assert ("the one to start with" in card.summary) == (name == "threshold")
    assert ("weak without training, 16.0 dB" in card.summary) == (name == "vmoba")


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_reaches_the_rule_or_its_planner(name: str) -> None:
    plugin, _ = changed(name)
    rule = rule_of(plugin)
    told = [field for field in SHARED if field != "block"]
    assert {field: getattr(rule, field) for field in told} == {field: SHARED[field] for field in told}
    planner: Any = rule.planner
    assert {field: getattr(planner.settings, field) for field in OTHERS[name]} == OTHERS[name]
    assert planner.settings.block == 32 and planner.name == plugin.name == name
    assert rule_of(sparse(name)).budget is None


def test_radial_decays_as_its_authors_have_it_for_each_model() -> None:
    known = {"wan": 0.2, "wan2.2": 0.8, "hunyuanvideo": 0.95, "ltx": 1.0, "tiny": 1.0}
    for family, decay in known.items():
        target = dataclasses.replace(WAN, family=family)
        assert rule_of(sparse("radial"), target).planner.settings.decay == decay  # type: ignore[attr-defined]
        assert rule_of(sparse("radial", decay=0.5), target).planner.settings.decay == 0.5  # type: ignore[attr-defined]
    assert set(known) <= {card.family for card in checkpoints()}


@pytest.mark.parametrize("name", [name for name in NAMES if "first_frame" in OTHERS[name]])
def test_the_first_frame_is_read_where_text_stays_out(name: str) -> None:
    """More is computed with the first frame than without; None is one or the other by where the text is."""
    for grid, follows in ((properties.GRIDS[0], True), (properties.GRIDS[2], False)):
        density = {}
        for choice in (None, True, False):
            plugin, _ = properties.examples(type(sparse(name)))
            if name == "radial":  # with a density, the bands make room for the first frame
                plugin = sparse(name, decay=0.2)
            call = properties.call_of(grid)
            attend = properties.attention(dataclasses.replace(plugin, first_frame=choice), grid)
            attend(*properties.drawn(grid), call)
            density[choice] = float(call.run.densities[name][0])
        assert density[True] > density[False] and density[None] == density[follows]


@pytest.mark.parametrize("name", NAMES)
def test_unets_are_refused(name: str) -> None:
    reason = f"{name} needs attention over all frames at once, and Some UNet has separate attention over space and time"
    with pytest.raises(UsageError, match=reason):
        sparse(name).parts(UNET)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("svg:block=0", "svg: block=0 must be at least 1"),
        ("svg:recall=0", r"svg: recall=0.0 must be in \(0, 1\]; 1 is everything"),
        ("svg:recall=1.01", r"svg: recall=1.01 must be in \(0, 1\]"),
        ("svg:max_density=0", r"svg: max_density=0.0 must be in \(0, 1\]"),
        ("svg:recall=0.9,budget=a.json", "svg: recall=0.9 and budget='a.json' both set how much is kept; leave one"),
        ("svg:dense_steps=-0.1", r"svg: dense_steps=-0.1 is a share of the steps and must be in \[0, 1\]"),
        ("svg:dense_sigma=1.5", r"svg: dense_sigma=1.5 is a noise level and must be in \[0, 1\]"),
        ("svg:dense_layers=-1", "svg: dense_layers=-1 must be at least 0"),
        ("svg:min_tokens=-1", "svg: min_tokens=-1 must be at least 0"),
        ("svg:density=0", r"svg: density=0.0 must be in \(0, 1\]"),
        ("svg:rows=0", "svg: rows=0 must be at least 1"),
        ("svg:first_frame=maybe", "svg: first_frame='maybe' is not of type bool or None"),
        ("radial:density=2", r"radial: density=2.0 must be in \(0, 1\]"),
        ("radial:decay=0", "radial: decay=0.0 must be more than 0"),
        ("vmoba:time=0", "vmoba: time=0 must be at least 1"),
        ("vmoba:space=3x0", r"vmoba: space=\(3, 0\) must be 2 numbers of at least 1: rows and columns"),
        ("vmoba:both=4x6", "vmoba: both='4x6' is not of type frames x rows x columns"),
        ("radial:rule=best", "radial: rule='best' is not of type 'corrected' or 'published'"),
        ("sparge:choose=best", "sparge: choose='best' is not of type 'topk' or 'cdf'"),
        ("sparge:order=hilbert", "sparge: order='hilbert' is not of type 'frames' or 'morton' or 'morton-2d'"),
        ("sparge:density=0", r"sparge: density=0.0 must be in \(0, 1\]"),
        ("sparge:mass=1.5", r"sparge: mass=1.5 must be in \(0, 1\]"),
        ("sparge:similarity=-2", r"sparge: similarity=-2.0 is a mean cosine and must be in \[-1, 1\]"),
        ("adaspa:density=0", r"adaspa: density=0.0 must be in \(0, 1\]"),
        ("adaspa:searches=0.2x1", r"adaspa: searches=\(0.2, 1.0\) are shares of the steps and must be in \(0, 1\)"),
        ("adaspa:searches=soon", "adaspa: searches='soon' is not of type shares joined by x, or none"),
        ("threshold:impl=flex", "threshold: impl='flex' is not of type 'auto' or 'triton' or 'gather' or 'reference'"),
        ("svg2:top_p=0", r"svg2: top_p=0.0 must be in \(0, 1\]"),
        ("svg2:min_share=-1", r"svg2: min_share=-1.0 is a share of the clusters and must be in \[0, 1\]"),
        ("svg2:query_cluster=0", "svg2: query_cluster=0 must be at least 1"),
        ("svg2:key_cluster=0", "svg2: key_cluster=0 must be at least 1"),
        ("svg2:first_rounds=-1", "svg2: first_rounds=-1 must be at least 0"),
        ("svg2:rounds=-1", "svg2: rounds=-1 must be at least 0"),
        ("svg2:tail=true,impl=flex", "svg2: impl='flex' does not support tail=True; choose another impl, or leave "),
        ("sliding-tile:tile=6x8", "sliding-tile: tile='6x8' is not of type frames x rows x columns"),
        ("sliding-tile:tile=6x8x8.5", "sliding-tile: tile='6x8x8.5' is not of type frames x rows x columns"),
        ("sliding-tile:window=none", "sliding-tile: window='none' is not of type frames x rows x columns"),
        ("sliding-tile:window=3x0x3", r"window=\(3, 0, 3\) must be three numbers of at least 1: frames, rows and col"),
        ("vmoba:threshold=0", r"vmoba: threshold=0.0 must be in \(0, 1\]"),
        ("frame-anchors:near=-1", "frame-anchors: near=-1 must be at least 0"),
        ("frame-anchors:first=-1", "frame-anchors: first=-1 must be at least 0"),
        ("frame-anchors:key_frames=-1", "frame-anchors: key_frames=-1 must be at least 0"),
    ],
)
def test_mistakes_get_a_sentence(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        catalogue.parse(text)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "svg",
            {"impl": "cuda"},
            "svg: impl='cuda' must be 'auto' or 'triton' or 'gather' or 'flex' or 'xformers' or 'reference'",
        ),
        ("threshold", {"impl": "flex"}, "threshold: impl='flex' must be 'auto' or 'triton' or 'gather' or 'reference'"),
        ("threshold", {"tau": float("-inf")}, "threshold: tau=-inf must be a finite number; -1000 reads every block"),
        ("threshold", {"tau": float("nan")}, "threshold: tau=nan must be a finite number"),
        ("sparge", {"choose": "best"}, "sparge: choose='best' must be 'topk' or 'cdf'"),
        ("sliding-tile", {"tile": (6, 8)}, r"sliding-tile: tile=\(6, 8\) must be three numbers of at least 1"),
        ("svg", {"dense_steps": float("nan")}, "svg: dense_steps=nan is a share"),
        ("svg", {"max_density": float("nan")}, "svg: max_density=nan must be in"),
    ],
)
def test_mistakes_in_python_get_a_sentence(name: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        catalogue.plugin_class(name)(**values)


def test_tuples_are_read_from_texts_and_lists() -> None:
    tiles = [catalogue.parse("sliding-tile: tile = 2X4x3 "), sparse("sliding-tile", tile=[2, 4, 3])]
    assert tiles == [sparse("sliding-tile", tile=(2, 4, 3))] * 2
    assert catalogue.text_of(tiles[0]) == "sliding-tile:tile=2x4x3"
    assert catalogue.parse("adaspa:searches=none") == sparse("adaspa", searches=[])
    assert catalogue.text_of(sparse("adaspa", searches=())) == "adaspa:searches=none"
    for wrong in ([2, True, 3], [2, 4], "2x4x3x1", 2, "", {"a": 1}):
        with pytest.raises(UsageError, match="is not of type frames x rows x columns"):
            sparse("sliding-tile", tile=wrong)


@pytest.mark.parametrize("name", NAMES)
def test_a_budget_is_read_for_its_method(name: str, tmp_path: Any) -> None:
    path = tmp_path / "budget.json"
    with pytest.raises(UsageError, match=f"^{name}: .*budget.json"):
        sparse(name, budget=str(path)).parts(WAN)
    layer, fields = "transformer.blocks.1.attn1", {"block": 16}
    head = {"format": "genkit attention budget", "version": 1, "measured": {}}
    path.write_text(json.dumps(head | {"method": name, "layers": {layer: fields}}))
    assert rule_of(sparse(name, budget=str(path))).budget == {layer: fields}
    path.write_text(json.dumps(head | {"method": "another", "layers": {}}))
    with pytest.raises(UsageError, match=f"{name}: the budget .* was made for another, not for {name}"):
        sparse(name, budget=str(path)).parts(WAN)


@pytest.mark.parametrize(("one", "other"), list(combinations(NAMES, 2)))
def test_a_pipeline_takes_one_of_them(one: str, other: str) -> None:
    reason = "both claim sparse attention, and only one plug-in can have a claim; leave one out"
    for pair in ((one, other), (other, one)):
        with pytest.raises(UsageError, match=f"{pair[0]} and {pair[1]} cannot be combined: {reason}"):
            check_together([sparse(name) for name in pair])
        assert conflict(*(catalogue.plugin_class(name) for name in pair)) == reason


@pytest.mark.parametrize("name", NAMES)
def test_freelong_is_refused_only_where_nothing_would_be_sparse(name: str) -> None:
    plugin = sparse(name, dense_steps=0.5)
    check_together([FreeLong(until=0.6), plugin])
    for pair in ([FreeLong(until=0.5), plugin], [plugin, FreeLong(until=0.2)]):
        if name not in ("sliding-tile", "svg", "svg2", "vmoba"):
            check_together(pair)
            continue
        with pytest.raises(UsageError, match=rf"{name} cannot be sparse in FreeLong's windows.*until=0.[25]\) before"):
            check_together(pair)


def test_anchors_have_nothing_to_do_in_freenoise() -> None:
    with pytest.raises(UsageError, match="freenoise and frame-anchors cannot be combined: FreeNoise's windows"):
        check_together([FreeNoise(), sparse("frame-anchors")])


def test_the_page_shows_tuples_and_what_may_be_left_to_the_model() -> None:
    tile = {field.name: field for field in plugin_fields.fields("sliding-tile")}
    assert (tile["tile"].kind, tile["tile"].default, tile["tile"].type) == ("text", "6x8x8", "frames x rows x columns")
    first = next(field for field in plugin_fields.fields("svg") if field.name == "first_frame")
    assert (first.kind, first.default, first.choices) == ("choice", "none", ("none", "true", "false"))
    assert (tile["recall"].kind, tile["recall"].default) == ("number", None)
    for answer, text in (("none", "svg"), ("true", "svg:first_frame=True"), ("false", "svg:first_frame=False")):
        request = form.check(form.defaults() | {"svg": True, "svg.first_frame": answer}).request
        assert request is not None and request.plugins == (text,)
    checked = form.check(form.defaults() | {"sliding-tile": True, "sliding-tile.tile": "6x8"})
    assert "tile='6x8' is not of type frames x rows x columns" in checked.wrong["sliding-tile"]
    both = {"svg": True, "freelong": True, "freelong.until": 0.1}
    assert set(form.check(form.defaults() | both).wrong) == {"svg", "freelong"}


def test_the_page_reads_no_file_of_this_machine() -> None:
    assert not [key for key in form.defaults() if key.endswith(".budget")]
    values, notes = form.settings({"prompt": "a fox", "plugins": ["svg:density=0.4,budget=/etc/passwd"]})
    assert notes == ["ignored, because the page does not set it: svg.budget"]
    request = form.check(values | {"svg.budget": "/etc/passwd"}).request
    assert request is not None and request.plugins == ("svg:density=0.4",)
