"""Drawings and heat maps: the same in SVG and PNG, every number at its place and in its colour."""

import xml.etree.ElementTree as ET
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from genkit.benchmarks.drawing.canvas import SHARPNESS, Box, Drawing, Word
from genkit.benchmarks.drawing.heat_map import AMOUNT, EMPTY, GAIN, LOSS, Panel, blend, heat_maps, luminance, readable
from genkit.benchmarks.drawing.probe_picture import short_names
from genkit.benchmarks.speed import curve_page
from genkit.errors import UsageError

SVG = "{http://www.w3.org/2000/svg}"


def panel(columns: int = 3, **change: object) -> Panel:
    values = [[0.1, None, 0.9] + [0.5] * (columns - 3), [0.0, 0.5, 1.0] + [0.5] * (columns - 3)]
    given = {"title": "Error", "caption": "greatest", "axis": "step", "low": 0.0, "high": 1.0, "colours": LOSS}
    return Panel(**(given | {"columns": [str(n + 1) for n in range(columns)], "values": values} | change))  # type: ignore


def drawn(*panels: Panel) -> Drawing:
    return heat_maps(
        "threshold on tiny", "65 frames <of> 64x64", "layer", ["1", "transformer.2"], panels, "not measured"
    )


def test_boxes_and_words_stand_at_the_same_place_in_both(tmp_path: Path) -> None:
    drawing = Drawing(title="a & b", width=60, height=40, shapes=[Box(10, 5, 20, 10, "#ff0000"), Word(30, 30, "<x>")])
    pixels = np.asarray(Image.open(drawing.save(tmp_path / "new" / "a.png")))
    assert pixels.shape == (40 * SHARPNESS, 60 * SHARPNESS, 3)
    red = (pixels == (255, 0, 0)).all(-1)
    assert red.sum() == 20 * 10 * SHARPNESS**2 and red[5 * SHARPNESS, 10 * SHARPNESS]
    tree = ET.fromstring(drawing.save(tmp_path / "a.svg").read_text("utf-8"))
    paper, box = tree.findall(f"{SVG}rect")
    assert paper.attrib["width"] == "60" and box.attrib == {
        "x": "10", "y": "5", "width": "20", "height": "10", "fill": "#ff0000"
    }  # fmt: skip
    assert [text.text for text in tree.findall(f"{SVG}text")] == ["<x>"]
    assert tree.findtext(f"{SVG}title") == "a & b"
    ink = np.argwhere((pixels < 128).all(-1)) / SHARPNESS
    assert abs(ink[:, 0].mean() - 30) < 3 and ink[:, 1].min() >= 29


@pytest.mark.parametrize("name", ["a.jpg", "a"])
def test_other_kinds_of_files_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the name of a picture must end in \.svg or \.png"):
        drawn(panel()).save(tmp_path / name)
    (tmp_path / "a.svg").mkdir()
    with pytest.raises(UsageError, match="cannot write .*choose another place"):
        drawn(panel()).save(tmp_path / "a.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["a.svg"]


def test_every_cell_has_the_colour_and_the_number_of_its_value() -> None:
    shapes = drawn(panel()).shapes
    fills = {shape.hint: shape.fill for shape in shapes if isinstance(shape, Box) and shape.hint}
    assert fills == {
        "1, step 1: 0.100": blend(LOSS, 0.1),
        "1, step 2: -": EMPTY,
        "1, step 3: 0.900": blend(LOSS, 0.9),
        "transformer.2, step 1: 0.000": LOSS[0],
        "transformer.2, step 2: 0.500": LOSS[1],
        "transformer.2, step 3: 1.000": LOSS[2],
    }
    words = [shape.text for shape in shapes if isinstance(shape, Word)]
    assert {"0.100", "0.900", "1.000", "threshold on tiny", "65 frames <of> 64x64", "not measured"} <= set(words)


def test_many_columns_are_narrow_and_carry_no_numbers() -> None:
    words = [shape.text for shape in drawn(panel(40)).shapes if isinstance(shape, Word)]
    assert "0.500" not in words and {"1", "6", "36"} <= set(words) and "2" not in words


def test_values_outside_the_scale_have_its_last_colour() -> None:
    assert panel(low=0.2, high=0.4).colour(0.1) == LOSS[0] and panel(low=0.2, high=0.4).colour(0.5) == LOSS[2]
    assert panel(low=1.0, high=1.0).colour(1.0) == LOSS[0] and panel().colour(None) == EMPTY


def test_a_scale_without_length_has_the_good_colour_and_no_number_is_a_colour_of_its_own() -> None:
    perfect = panel(low=1.0, high=1.0, colours=GAIN)
    assert perfect.colour(1.0) == GAIN[-1] and perfect.colour(0.9) == GAIN[0]
    lossless = panel(low=0.0, high=0.0)
    assert lossless.colour(0.0) == LOSS[0] and lossless.colour(0.1) == LOSS[-1]
    values = [[float("nan"), None, float("inf")], [0.1, 0.2, 0.3]]
    shapes = drawn(panel(values=values)).shapes
    fills = {shape.hint: shape.fill for shape in shapes if isinstance(shape, Box) and shape.hint}
    assert fills["1, step 1: not a number"] == fills["1, step 3: not a number"] == fills["1, step 2: -"] == EMPTY
    assert len([shape for shape in shapes if isinstance(shape, Word) and shape.text == "NaN"]) == 2


def test_one_row_and_none_are_drawn() -> None:
    for rows in ([], ["1"]):
        one = panel(values=[[0.5] * 3 for _ in rows])
        drawing = heat_maps("t", "a", "layer", rows, [one], "empty")
        assert drawing.width > 0 and drawing.height > 0 and "</svg>" in drawing.svg()


def test_many_lines_of_a_curve_are_all_drawn_and_no_rows_are_refused() -> None:
    rows = [
        {"planner": f"p{i}", "impl": "gather", "density": 0.1 * i, "cold": 2.0, "warm": 3.0, "device_name": "a chip"}
        for i in range(9)
    ]
    text = curve_page.picture(rows)
    assert text.count("<polyline") == 10 and all(f"p{i}, gather" in text for i in range(9))
    with pytest.raises(UsageError, match="no rows to draw a curve of"):
        curve_page.picture([])


def test_numbers_can_be_read_on_their_cells() -> None:
    """The contrast of WCAG for text, 4.5 to 1, on every colour."""
    for colours in (LOSS, AMOUNT):
        for part in range(101):
            fill = blend(colours, part / 100)
            light, dark = sorted((luminance(fill), luminance(readable(fill))), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, fill


def span(shape: Box | Word) -> tuple[float, float, float, float]:
    """Left, top, right and bottom; of a word, in the font of the PNG, without the space that letters like g take."""
    if isinstance(shape, Box):
        return shape.left, shape.top, shape.left + shape.width, shape.top + shape.height
    length = ImageFont.load_default(shape.size).getlength(shape.text)
    left = shape.x - {"start": 0, "middle": 0.5, "end": 1}[shape.anchor] * length
    return left, shape.y - shape.size / 3, left + length, shape.y + shape.size / 3


@pytest.mark.parametrize("columns", [3, 12, 13, 40])
def test_nothing_is_cut_off_and_no_word_lies_on_another(columns: int) -> None:
    drawing = drawn(panel(columns), panel(columns, title="A rather long title of a table", caption="and a caption"))
    for shape in drawing.shapes:
        left, top, right, bottom = span(shape)
        assert left >= 0 and right <= drawing.width and top >= 0 and bottom <= drawing.height, shape
    words = [(shape.text, span(shape)) for shape in drawing.shapes if isinstance(shape, Word)]
    for (one, (left, top, right, bottom)), (other, (x, y, far_x, far_y)) in combinations(words, 2):
        assert right <= x or far_x <= left or bottom <= y or far_y <= top, (one, other)


def test_short_names() -> None:
    blocks = [f"transformer.blocks.{number}.attn1" for number in (1, 2, 11)]
    assert short_names(blocks) == ["1", "2", "11"]
    assert short_names(blocks[:1]) == blocks[:1]
    assert short_names(["a.b.1.c", "a.d.2.c"]) == ["b.1", "d.2"]
    assert short_names(["a.b", "a.b.b"]) == ["a.b", "a.b.b"]
