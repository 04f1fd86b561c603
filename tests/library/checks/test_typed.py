"""Values by the types of their fields: what is read, what is refused, and that texts go there and back."""

import math
from typing import Annotated, Any, Literal

import pytest

from genkit.checks.typed import convert, fits, number, type_name, value_text
from genkit.errors import UsageError

Path = Annotated[str, "path"]
Size = tuple[int, int, int]


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("3", int, 3),
        ("3", float, 3.0),
        ("0.5", float | None, 0.5),
        ("None", float | None, None),
        ("TRUE", bool, True),
        ("a", Literal["a", "b"], "a"),
        ("3", str, "3"),
        ("'3'", str, "3"),
        ("none", str | None, "none"),
        ("none", None | str, None),
        ("x.json", Path | None, "x.json"),
        ("6x8x8", Size, (6, 8, 8)),
        ("6X8X8", Size | None, (6, 8, 8)),
        ("none", tuple[float, ...], ()),
        ("1x2.5", tuple[float, ...], (1.0, 2.5)),
        ([1, 2, 3], Size, (1, 2, 3)),
        (2, float, 2.0),
    ],
)
def test_what_is_read(text: Any, hint: Any, value: Any) -> None:
    found = convert(text, hint, "x")
    assert found == value and type(found) is type(value)
    assert fits(value, hint)
    if text not in ("none", "'3'") or value is None:
        assert convert(value_text(value), hint, "x") == value, "the text of a value is read as that value"


@pytest.mark.parametrize(
    ("value", "hint", "name"),
    [
        ("3.5", int, "int"),
        ("true", float, "float"),
        (True, int, "int"),
        ("c", Literal["a", "b"], "'a' or 'b'"),
        ("6x8", Size, "tuple"),
        ("6x8xa", Size | None, ".* or None"),
        (None, float, "float"),
        (3, Path, "path"),
    ],
)
def test_what_is_refused(value: Any, hint: Any, name: str) -> None:
    with pytest.raises(UsageError, match=f"^x={value!r} is not of type {name}"):
        convert(value, hint, "x")
    assert not fits(value, hint)


def test_values_of_python_are_not_read_from_texts() -> None:
    """A budget file holds JSON: "0.5" in it is a text, and a list has become a tuple before."""
    assert fits("0.5", str) and not fits("0.5", float) and not fits("true", bool) and not fits("1x2x3", Size)
    assert (
        not fits([1, 2, 3], Size) and fits((1, 2, 3), Size) and not fits((1, 2), Size) and not fits((1, 2, "3"), Size)
    )
    assert fits(math.inf, float) and fits(1, float) and not fits(1.0, int) and not fits(True, float)


def test_numbers_in_forms() -> None:
    assert (number(" 7 "), number("7.5"), number("1e3"), number("  ")) == (7, 7.5, 1000, None)
    assert type(number("7")) is int
    with pytest.raises(UsageError, match="'seven' is not a number"):
        number("seven")


def test_names_of_types() -> None:
    assert type_name(int | None) == "int or None" and type_name(Literal["a"] | None) == "'a' or None"
