"""Untrusted text made safe to print: a terminal shows it without obeying it.

Prompts, model names, errors of a hub and recipes in video files are written by others. Printed as they are, they could
move the cursor, rename the window, fill the clipboard (OSC 52), hide behind a link (OSC 8) or reverse a line.
"""

import unicodedata

JOINERS = "\u200c\u200d"
"""Needed in Persian and in emoji, and harmless."""


def visible(text: object) -> str:
    """Return ``text`` on one line, with every character that a terminal would obey escaped, such as ``\\x1b``.

    Line breaks, control characters of both ranges, bidirectional controls, bytes that are not Unicode and unassigned
    characters are escaped; letters of all scripts, spaces and emoji are kept.
    """
    return "".join(letter if _harmless(letter) else ascii(letter)[1:-1] for letter in str(text))


def visible_lines(text: object) -> str:
    """Return ``text`` as :func:`visible`, but keep line feeds and tabs, for text with its own lines and columns."""
    return "".join(letter if letter in "\n\t" else visible(letter) for letter in str(text))


def _harmless(letter: str) -> bool:
    return letter.isprintable() or letter in JOINERS or unicodedata.category(letter) == "Zs"
