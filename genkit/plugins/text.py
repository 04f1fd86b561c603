"""Split and join the text form of a plug-in, ``name:parameter=value,parameter=value``."""

import re
from collections.abc import Mapping

from genkit.errors import UsageError

_PART = re.compile(r"""(?:[^,'"]|'[^']*'|"[^"]*")+""")  # commas inside quotes do not separate


def split_text(text: str) -> tuple[str, dict[str, str]]:
    """Return the name and the parameters of ``text``, with values as written.

    Raises:
        UsageError: a parameter has no value.
    """
    name, _, rest = text.partition(":")
    return name.strip().lower(), dict(_assignment(part, name) for part in _PART.findall(rest) if part.strip())


def join_text(name: str, values: Mapping[str, str]) -> str:
    """Return the text that ``split_text`` splits into ``name`` and ``values``."""
    return f"{name}:{','.join(f'{key}={value}' for key, value in values.items())}" if values else name


def _assignment(part: str, name: str) -> tuple[str, str]:
    key, equals, value = part.partition("=")
    if not equals:
        raise UsageError(f"{name}: {part.strip()!r} is not a parameter; write name=value")
    return key.strip().replace("-", "_"), value.strip()
