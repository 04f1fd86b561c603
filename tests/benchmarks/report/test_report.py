"""The report: numbers as in its JSON, whole without a network, deaf to what users type."""

import base64
import hashlib
import io
import json
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_receipt import receipt  # a complete receipt with made-up figures
from tree import TOP

from genkit.apps.commands.versus import fold
from genkit.benchmarks.drawing.curves import HEIGHT, WIDTH, Line, curves, line_styles, ticks
from genkit.benchmarks.report.findings import Comparison, Side, Take, as_json, tabulate
from genkit.benchmarks.report.media import data_uri, strip_places, strip_uri
from genkit.benchmarks.report.page import Clip, cautions, render, summary
from genkit.benchmarks.report.worst import worst_cases
from genkit.record.receipt import Seconds

FRAMES = 9
METRICS = {"lite.flicker": "higher", "lite.seam_jump": "lower", "lite.dynamic_degree": "neither"}
VOID = {"meta", "link", "img", "input", "br", "line", "polyline"}
HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>\"' {{ 7 * 7 }}"


def results(values: dict[str, list[float]], suite: str = "lite", errors: tuple[int, ...] = ()) -> dict[str, Any]:
    """What an evaluation returns: the value of each take, as a curve around it."""
    swing = np.linspace(-1, 1, FRAMES) * 0.001
    videos = [
        {
            "name": f"take{take}.npz",
            "metrics": {
                name: {"error": "too small"}
                if take in errors
                else {
                    "sum": float((found[take] + swing).sum()),
                    "weight": float(FRAMES),
                    "curve": (found[take] + swing).tolist(),
                }
                for name, found in values.items()
            },
        }
        for take in range(len(next(iter(values.values()))))
    ]
    metrics = {name: {"about": f"about {name}", "better": METRICS.get(name, "higher")} for name in values}
    return {"suite": suite, "metrics": metrics, "videos": videos}


def side(name: str, shift: float, takes: int, seconds: float = 1.0, **more: Any) -> Side:
    values = {metric: [shift + 0.1 * take for take in range(takes)] for metric in METRICS}
    return Side(
        name=name,
        request={"model": "tiny", "plugins": [name]},
        receipts=tuple(receipt(seed=take, seconds=Seconds(denoise=seconds + take)) for take in range(takes)),
        results={"lite": results(values, **more)},
    )


def comparison(takes: int = 8, prompts: int = 1, name: str = "other", prompt: str = "a red circle") -> Comparison:
    """Two sides, of which the second is 0.5 higher in every metric and twice as fast."""
    told = [Take(name=f"take{i}", prompt=f"{prompt}{i % prompts or ''}", seed=i // prompts) for i in range(takes)]
    return tabulate([side("plain", 0.0, takes, 8.0), side(name, 0.5, takes, 4.0)], told)


def clips(of: Comparison) -> list[list[Clip]]:
    picture = strip_uri(np.zeros((FRAMES, 8, 8, 3), np.uint8))
    clip = Clip(video=data_uri(b"film", "video/mp4"), strip=picture, file="videos/a.mp4", seconds=1.5, fps=6.0)
    return [[clip] * len(of.takes) for _ in of.sides]


class Page(HTMLParser):
    """The elements of a page; raises if one is not closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def named(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [a for name, a in self.elements if name == tag and all(a.get(k) == v for k, v in wanted.items())]

    def text(self) -> str:
        return " ".join(" ".join(data for place, data in self.texts if place not in ("style", "script")).split())


def page(of: Comparison, title: str = "Comparison") -> Page:
    return Page(render(of, clips(of), title))


def test_the_numbers_of_the_table_are_those_of_the_json() -> None:
    found = comparison()
    numbers = json.loads(json.dumps(as_json(found), allow_nan=False))
    cells = {
        (a["data-metric"], int(a["data-side"] or 0)): a["data-value"]
        for a in page(found).named("td")
        if a.get("data-side")
    }
    assert len(cells) == 2 * (len(METRICS) + 1) == 2 * len(numbers["metrics"])
    for (metric, index), shown in cells.items():
        assert shown is not None and float(shown) == numbers["metrics"][metric]["sides"][index]["value"]["value"]
    flicker = numbers["metrics"]["lite.flicker"]["sides"]
    assert flicker[0]["value"]["value"] == pytest.approx(0.35) and flicker[0]["difference"] is None
    assert flicker[1]["difference"]["value"] == pytest.approx(0.5) and flicker[1]["verdict"] == "better"
    assert flicker[1]["chance"] == 2 / 2**8 and flicker[0]["chance"] is None
    assert len(flicker[1]["clips"]) == 8 and len(flicker[1]["clips"][0]["curve"]) == FRAMES
    assert numbers["metrics"]["cost.denoise_seconds"]["sides"][1]["difference"]["value"] == pytest.approx(-4)
    assert [take["seed"] for take in numbers["takes"]] == [*range(8)] and numbers["unit"] == "seeds"
    assert numbers["sides"][0]["receipts"][2]["seed"] == 2


def test_the_table_shows_intervals_and_verdicts() -> None:
    text = page(comparison()).text()
    assert "+0.5 +0.5 to +0.5 ▲ better" in text and "▼ worse" in text and "◆ different" in text
    low, high = (end for score in comparison().rows[0].scores[:1] for end in (score.value.low, score.value.high))
    assert f"0.35 {low:.4g} to {high:.4g}" in text
    assert "−4 −4 to −4 ▲ better" in text
    assert "other against plain: better in 2, worse in 1, different in 1" in text


def test_every_verdict() -> None:
    takes = [Take(name=f"take{i}", prompt="a", seed=i) for i in range(6)]
    values = [
        [0.0, 1, 2, 3, 4, 5],
        [0.1, 0.9, 2.1, 2.9, 4.1, 4.9],
        [0.0, 1, 2, 3, 4, 5],
        [0.5, 1.6, 2.4, 3.5, 4.6, 5.4],
    ]
    sides = [
        Side(name=str(i), request={}, receipts=(receipt(),) * 6, results={"lite": results({"lite.flicker": value})})
        for i, value in enumerate(values)
    ]
    row = tabulate(sides, takes).rows[0]
    assert [score.verdict for score in row.scores] == ["", "noise", "equal", "better"]
    for few in range(1, 6):
        row = tabulate(sides, takes[:few]).rows[0]
        told = [score.verdict for score in row.scores[1:]]
        assert told == ["too few seeds", "equal", "too few seeds"], "equal is what is seen, and no guess about others"
        assert all(score.difference is not None for score in row.scores[1:])


def test_verdicts_hold_for_all_measures_of_a_side_together() -> None:
    """One measure of forty that noise pulls to one side is no finding, and alone it would be one."""
    drawn = np.random.default_rng(1)
    names = [f"lite.m{i}" for i in range(40)]
    base = {name: [0.0] * 8 for name in names}
    other = {name: drawn.normal(size=8).tolist() for name in names}
    other[names[0]] = [0.5, 0.7, 0.6, 0.5, 0.8, 0.6, 0.5, -0.1]

    def verdict(only: list[str]) -> str:
        takes = [Take(name=f"take{i}", prompt="a", seed=i) for i in range(8)]
        sides = [
            Side(name=str(i), request={}, receipts=(receipt(),) * 8, results={"lite": results({n: v[n] for n in only})})
            for i, v in enumerate((base, other))
        ]
        return tabulate(sides, takes).rows[0].scores[1].verdict

    assert verdict(names[:1]) == "better" and verdict(names) == "noise"


def test_a_yes_or_no_measure_never_has_an_interval_without_width() -> None:
    takes = [Take(name=f"take{i}", prompt="a", seed=i) for i in range(4)]
    sides = [
        Side(name=str(i), request={}, receipts=(receipt(),) * 4, results={"lite": results({"lite.dynamic_degree": v})})
        for i, v in enumerate(([1.0] * 4, [1.0] * 4))
    ]
    for found in sides:
        for video in found.results["lite"]["videos"]:  # the decision, with the speeds along the video as its curve
            video["metrics"]["lite.dynamic_degree"] |= {"sum": 1.0, "weight": 1.0}
    row = tabulate(sides, takes).rows[0]
    assert row.scores[0].value is not None and row.scores[0].value.low == pytest.approx(0.3976, abs=1e-4)
    difference = row.scores[1].difference
    assert difference is not None and difference.low is not None and difference.low < -0.5 < 0.5 < difference.high


def test_several_prompts_are_what_the_intervals_are_drawn_from() -> None:
    found = comparison(takes=4, prompts=2)
    value = found.rows[0].scores[1].value
    assert found.unit == "prompts" and value is not None and (value.prompts, value.videos) == (2, 4)
    assert not any("one prompt" in line for line in cautions(found))
    assert any("one prompt" in line for line in cautions(comparison()))


def test_what_a_reader_must_know_first() -> None:
    first = "All takes have one prompt: the numbers are about its seeds and say nothing about other prompts."
    assert cautions(comparison()) == [
        first,
        "The verdicts of a side are corrected for its 4 measures: the chance that any of them is called better, worse "
        "or different by accident is at most 5 %, for each side. The intervals are those of each measure alone.",
    ]
    assert cautions(comparison(takes=4)) == [
        first,
        "4 seeds are too few for verdicts, which need 6: with fewer, chance alone too often puts all on one side. The "
        "numbers below describe only these videos.",
    ]
    assert (
        "only one take, so nothing can be said about others: no intervals, no verd" in cautions(comparison(takes=1))[0]
    )
    assert "There are only 2 seeds, so nothing can be said" in cautions(comparison(takes=2))[0]
    noted = tabulate([side("a", 0, 2), side("b", 1, 2)], comparison(takes=2).takes, ["No similarity of b to a."])
    assert cautions(noted)[0] == "No similarity of b to a."
    assert summary(comparison(takes=1), 1) == "other against plain: too few seeds in 4"


def test_what_was_not_measured_says_why() -> None:
    takes = comparison(takes=2).takes
    other = side("other", 0.5, 2, errors=(0, 1))
    found = tabulate([side("plain", 0, 2), other], takes)
    assert found.rows[0].scores[1].value is None and found.rows[0].reasons == ["too small"]
    text = page(found).text()
    assert "Not measured: too small" in text and "not measured" in text
    assert as_json(found)["metrics"]["lite.flicker"]["sides"][1]["clips"] == [{"error": "too small"}] * 2


def test_similarity_has_no_value_for_what_it_is_measured_against() -> None:
    takes = comparison(takes=4).takes
    other = side("other", 0.5, 4)
    other.results["similarity"] = results({"similarity.psnr": [30.0, 31.9, 30.1, 32.0]}, "similarity")
    found = tabulate([side("plain", 0, 4), other], takes)
    row = next(row for row in found.rows if row.metric == "similarity.psnr")
    assert row.scores[0].value is None and row.scores[1].value is not None
    value = row.scores[1].value
    assert value.value == pytest.approx(31) and value.low is not None and value.high is not None
    assert value.low < 30 and value.high > 32 and row.scores[1].verdict == ""
    assert "the reference" in page(found).text()
    assert f"31 {value.low:.4g} to {value.high:.4g}" in page(found).text()


def test_nothing_comes_from_elsewhere() -> None:
    found = comparison()
    html = render(found, clips(found), "Comparison")
    parsed = Page(html)
    assert not re.search(r"(https?|wss?|ftp|file):", re.sub(r"data:[^\"]*", "", html), re.I)
    for tag, attributes in parsed.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "a")
        assert str(attributes.get("src", "data:")).startswith("data:") and "href" not in attributes
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        assert not any(str(value).startswith("//") for value in attributes.values())
    assert "@import" not in html and "url(" not in html


def test_the_policy_of_the_page_allows_its_own_script_only() -> None:
    parsed = page(comparison())
    (script,) = [data for place, data in parsed.texts if place == "script"]
    policy = parsed.named("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"] or ""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy and policy.startswith("default-src 'none';")
    assert "connect-src" not in policy and "http" not in policy


def test_what_users_type_stays_text() -> None:
    found = comparison(name=HOSTILE, prompt=HOSTILE)
    parsed = page(found, title=HOSTILE)
    assert len(parsed.named("script")) == 1 and not parsed.named("img", src="x")
    assert parsed.text().count(" ".join(HOSTILE.split())) > 10
    assert len(parsed.elements) == len(page(comparison()).elements)


def test_a_video_and_a_control_for_each_clip() -> None:
    found = comparison(takes=3)
    parsed = page(found)
    assert len(parsed.named("video")) == 6 and {a["data-fps"] for a in parsed.named("video")} == {"6.0"}
    assert len(parsed.named("article", **{"class": "take"})) == len(parsed.named("option")) == 3
    for control in ("play", "back", "next", "place", "take", "clock"):
        assert len([a for _, a in parsed.elements if a.get("id") == control]) == 1
    assert all("controls" in a for a in parsed.named("video")), "without the script each has its own"


def test_curves_have_a_point_for_each_value() -> None:
    parsed = page(comparison())
    lines = parsed.named("polyline")
    assert len(lines) == 8 * len(METRICS) * 2, "takes, metrics with curves, sides"
    assert {len((line["points"] or "").split()) for line in lines} == {FRAMES}
    assert {line["class"] for line in lines} == {"side-0", "side-1"}


def test_no_two_sides_look_alike_with_their_colours_or_without() -> None:
    rules = re.findall(r"\.curves (\.side-\d+), \.key \1 { (.*?) }", str(line_styles(18)))
    assert [name for name, _ in rules] == [f".side-{n}" for n in range(18)]
    looks = [re.sub(r"stroke: var\(--c\d\); ", "", look) for _, look in rules]
    assert len(set(looks)) == 18
    colours = set(re.findall(r"var\((--c\d)\)", str(line_styles(18))))
    html = render(comparison(), clips(comparison()), "")
    assert all(html.count(f"{colour}: #") == 2 for colour in colours), "in light and in dark"
    assert str(line_styles(2)) in html and ".side-2," not in html


def test_a_curve_is_where_its_axes_say() -> None:
    drawing = Page(str(curves('a "title" <b>', [Line(side=0, values=(0.0, 1.0, 0.5), seconds=3.0)])))
    (svg,), (line,) = drawing.named("svg"), drawing.named("polyline")
    assert svg["aria-label"] == 'a "title" <b>' and svg["viewbox"] == f"0 0 {WIDTH} {HEIGHT}"
    left, right = float(svg["data-left"] or 0), float(svg["data-right"] or 0)
    points = [tuple(map(float, point.split(","))) for point in (line["points"] or "").split()]
    assert [x for x, _ in points] == pytest.approx([left + (right - left) * t / 3 for t in (0.5, 1.5, 2.5)], abs=0.06)
    low, high, half = (y for _, y in points)
    assert half == pytest.approx((low + high) / 2, abs=0.06) and high < low
    marks = {data: a for (place, data), a in zip(drawing.texts, drawing.named("text"), strict=True)}
    assert float(marks["0"]["y"] or 0) == pytest.approx(low + 4, abs=0.06)
    assert float(marks["3 s"]["x"] or 0) == pytest.approx(right)


@pytest.mark.parametrize("values", [(0.0, 0.0), (100.0, 100.0), (-3.0, -3.0), (1e-9, 2e-9), (0.0, 1e7)])
def test_no_value_leaves_the_drawing(values: tuple[float, ...]) -> None:
    drawing = Page(str(curves("", [Line(side=0, values=values, seconds=1.0)])))
    points = [tuple(map(float, p.split(","))) for p in (drawing.named("polyline")[0]["points"] or "").split()]
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in points)


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 1) == pytest.approx([0, 0.5, 1.0]) and ticks(0, 4) == [0, 1, 2, 3, 4]
    assert ticks(-0.05, 1.05) == pytest.approx([0, 0.5, 1])
    for low, high in ((0.1, 0.2), (3, 3000), (-7, -1), (0, 1e-6)):
        found = ticks(low, high)
        assert 2 <= len(found) <= 6 and low - 1e-12 <= found[0] and found[-1] <= high * (1 + 1e-9) + 1e-12


def test_the_worst_case_is_the_largest_loss_in_its_own_spread() -> None:
    takes = [Take(name=f"take{i}", prompt="a", seed=i) for i in range(3)]
    base = {"lite.flicker": [0.5, 0.5, 0.5], "lite.seam_jump": [10.0, 20, 30], "lite.dynamic_degree": [0.0, 0, 0]}
    other = {"lite.flicker": [0.9, 0.5, 0.1], "lite.seam_jump": [12.0, 20, 30], "lite.dynamic_degree": [9.0, 9, 9]}
    same = {"lite.flicker": [0.6, 0.6, 0.6], "lite.seam_jump": [9.0, 20, 30], "lite.dynamic_degree": [9.0, 9, 9]}
    sides = [
        Side(name=str(i), request={}, receipts=(receipt(),) * 3, results={"lite": results(values)})
        for i, values in enumerate((base, other, same))
    ]
    found = tabulate(sides, takes)
    (case,) = worst_cases(found)
    assert (case.side, case.take, case.metric) == (1, 2, "lite.flicker")
    assert (case.base, case.value) == pytest.approx((0.5, 0.1))
    parsed = page(found)
    assert "Its largest loss is in lite.flicker : 0.1 against 0.5 of 0, in a · seed 2" in parsed.text()
    assert len(parsed.named("img")) == 2
    assert "2 does not lose against 0 in any metric or video that could be compared." in parsed.text()
    assert "1 loses" not in parsed.text()


def test_nothing_compared_is_nothing_won() -> None:
    takes = [Take(name=f"take{i}", prompt="a", seed=i) for i in range(2)]
    base, blind = {"lite.flicker": [0.5, 0.5]}, {"lite.dynamic_degree": [1.0, 0.0]}
    sides = [
        Side(name=name, request={}, receipts=(receipt(),) * 2, results={"lite": results(values, errors=errors)})
        for name, values, errors in (("plain", base, (1,)), ("late", base, (0,)), ("blind", blind, ()))
    ]
    found = tabulate(sides, takes)
    assert worst_cases(found) == [] and found.rows[0].scores[1].difference is None, "no take has both"
    text = page(found).text()
    for name in ("late", "blind"):
        assert f"{name}: nothing could be compared with plain in a metric that has a better direction." in text
    assert " loses " not in text


def test_only_takes_that_both_have_are_compared() -> None:
    """One hard take is missing on one side: nothing changed in the others, whatever the means say."""
    takes = [Take(name=f"take{i}", prompt=f"p{i // 2}", seed=i % 2) for i in range(6)]
    values = {"lite.flicker": [0.1, 0.9, 0.1, 0.9, 0.1, 0.9]}
    sides = [
        Side(name=str(i), request={}, receipts=(receipt(),) * 6, results={"lite": results(values, errors=errors)})
        for i, errors in enumerate(((), (0, 3)))
    ]
    score = tabulate(sides, takes).rows[0].scores[1]
    assert score.difference is not None and score.difference.value == 0 and score.verdict == "equal"


def test_a_side_that_changed_nothing_says_so() -> None:
    found = comparison(takes=4)
    for same, words in (
        (4, "the same videos, bit for bit: the difference between the two had no effect on them; "),
        (0, ""),
    ):
        told = replace(found, sides=(found.sides[0], replace(found.sides[1], same_videos=same)))
        assert summary(told, 1) == f"other against plain: {words}too few seeds in 4"
        assert summary(told, 1) in page(told).text() and as_json(told)["sides"][1]["same_videos"] == same
    some = replace(found, sides=(found.sides[0], replace(found.sides[1], same_videos=3)))
    assert "the same video, bit for bit, in 3 of 4 takes; too few" in summary(some, 1)
    one = comparison(takes=1)
    one = replace(one, sides=(one.sides[0], replace(one.sides[1], same_videos=1)))
    assert "the same video, bit for bit: the difference between the two had no effect" in summary(one, 1)


def test_strips_show_the_first_and_the_last_frame() -> None:
    assert strip_places(65) == [0, 9, 18, 27, 37, 46, 55, 64] and strip_places(3) == [0, 1, 2]
    frames = np.zeros((3, 100, 200, 3), np.float32)
    frames[2] = 1
    head, _, body = strip_uri(frames).partition(",")
    with Image.open(io.BytesIO(base64.b64decode(body))) as strip:
        assert head == "data:image/webp;base64" and strip.size == (3 * 128 + 2 * 4, 64)
        colours = [strip.getpixel((x, 32)) for x in (64, 130, 328)]
    assert colours[0] == (0, 0, 0, 255) and colours[1][3] == 0 and colours[2] == (255, 255, 255, 255)


def test_the_documentation_has_the_command_of_make_report() -> None:
    top = TOP
    recipe, page = (top / "Makefile").read_text(), (top / "docs" / "comparison.md").read_text()
    command = re.search(r"\$\(BIN\)/(genkit compare(?:.*\\\n)*.*)\n", recipe)
    told = next(block for block in re.findall(r"```console\n(.*?)```", page, re.S) if "outputs/report" in block)
    assert command and shlex.split(command[1].replace("\\\n", "")) == shlex.split(told.replace("\\\n", ""))
    words = fold(shlex.split(told.replace("\\\n", ""))[1:])
    assert [word.removeprefix("--versus=") for word in words if word.startswith("--versus=")] == [
        "--with position-interpolation", "--with position-interpolation --with radial:density=0.5",
        "--with windows", "--with freenoise",
    ]  # fmt: skip
    assert "](report/index.html)" in page


def test_the_report_of_the_documentation_is_whole() -> None:
    path = TOP / "docs" / "report" / "index.html"
    assert path.stat().st_size < 3_000_000
    parsed = Page(path.read_text("utf-8"))
    heads = [" ".join(a["aria-label"].split(",")[:1]) for a in parsed.named("video") if a["aria-label"]]
    interpolated = "position-interpolation"
    sides = {"plain", interpolated, f"{interpolated} + radial:density=0.5", "windows", "freenoise"}
    assert set(heads) == sides and len(heads) % 5 == 0
    assert {a["data-side"] for a in parsed.named("td", **{"data-metric": "sprites.joint"})} == set("01234")
