"""What a trace has found, field by field: the value, the same as code, and the same in plain words."""

from dataclasses import dataclass
from typing import Any

SHORT = 90
"""Characters of a dictionary that is written in one line."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """One field of the facts that was found."""

    field: str
    """Name of the field; empty: something that the facts have no field for."""
    said: str
    """The finding in plain words."""
    value: Any = None
    """Value of the field."""
    code: str = ""
    """The value as Python; empty: its ``repr``."""
    imports: tuple[str, ...] = ()
    """Imports of the code, as ``module:name``."""
    before: str = ""
    """Functions that stand before the facts."""
    whole: bool = True
    """False if the value works only where it was found, so that somebody has to fill in the rest."""

    @property
    def text(self) -> str:
        """The value as Python."""
        return self.code or repr(self.value)


@dataclass(frozen=True, kw_only=True)
class Missing:
    """One field that was not found, so that somebody has to fill it in."""

    field: str
    """Name of the field."""
    said: str
    """What to fill in, in plain words."""
    code: str = ""
    """Example of the value as Python; empty: none can be given."""


def wrapped(text: str, indent: str = "") -> str:
    """Return a text as Python in double quotes, in lines that fit, each after ``indent``."""
    import textwrap

    lines = textwrap.wrap(text, 100, drop_whitespace=False)
    return "\n".join(f"{indent}{quoted(line)}" for line in lines)


def of_regex(pattern: str) -> str:
    """Return a regular expression as Python."""
    return f'r"{pattern}"'


def of_dict(items: dict[str, str]) -> str:
    """Return a dictionary as Python whose values are Python already, one line for each entry if one is too short."""
    short = f"{{{', '.join(f'{key}: {value}' for key, value in items.items())}}}"
    if len(short) < SHORT:
        return short
    lines = [f"    {key}: {value}," for key, value in items.items()]
    return "\n".join(["{", *lines, "}"])


def quoted(text: str) -> str:
    """Return a text as Python in double quotes."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{plain}"'
