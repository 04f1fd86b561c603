"""Installation of the distribution ``genkit-video``: entry point of its command line, and advice on packages.

It is outside the package ``genkit`` because PyPI's ``genkit``, another project, takes that name if both are installed.
The distribution is on no index, so advice names the missing packages, or where this one came from.
"""

import json
import shlex
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution, distributions
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

if TYPE_CHECKING:
    from packaging.requirements import Requirement

NAME, NAMESAKE = "genkit-video", "genkit"


def main() -> int:
    """Run the command line; print one sentence and return 1 if ``genkit`` is not the package of this project."""
    try:
        return _run()
    except KeyboardInterrupt:  # while Python is still importing packages
        print("genkit: stopped; nothing was written", file=sys.stderr)
        return 130


def _run() -> int:
    if not _is_ours():
        reason = namesake() or f"the package 'genkit' that Python finds is not that of {NAME}; {reinstall()}"
        print(f"genkit: {reason}", file=sys.stderr)
        return 1
    from genkit.apps.cli import main as run

    return run()


def namesake() -> str | None:
    """Describe what PyPI's ``genkit`` does to this package; None if it is not installed."""
    try:
        version = distribution(NAMESAKE).version
    except PackageNotFoundError:
        return None
    return (
        f"PyPI's {NAMESAKE} {version}, another project, is in this environment and takes the import name of {NAME}; "
        f"give each an environment of its own, or: pip uninstall --yes {NAMESAKE} && {reinstall()}"
    )


def reinstall() -> str:
    """Return the command that restores every file of this package."""
    place = _place()
    return f"pip install --force-reinstall --no-deps {place}" if place else f"install {NAME} again from where it came"


def install_extra(extra: str) -> str:
    """Return the command that installs the packages of the optional feature ``extra`` in pyproject.toml.

    Raises:
        ValueError: there is no such feature.
    """
    from packaging.requirements import Requirement

    needs = [Requirement(line) for line in distribution(NAME).requires or ()]
    wanted = [need for need in needs if need.marker and need.marker.evaluate({"extra": extra})]
    optional = [need for need in wanted if need.marker and not need.marker.evaluate({"extra": ""})]
    if not optional:
        raise ValueError(f"{NAME} has no optional feature {extra!r} on this system")
    return " ".join(["pip install", *(shlex.quote(_bare(need)) for need in optional)])


def _bare(need: "Requirement") -> str:
    """Requirement without its condition: name, features and versions."""
    need.marker = None
    return str(need)


def _is_ours() -> bool:
    try:
        found = import_module("genkit")
        import_module("genkit.errors")
    except ImportError:  # the other package may lack dependencies, and ours may not be importable
        return False
    return getattr(found, "__distribution__", None) == NAME


def _place() -> str:
    """Origin of this distribution as arguments of pip; empty if pip did not record it."""
    notes = (found.read_text("direct_url.json") for found in distributions(name=NAME))
    noted = next(filter(None, notes), None)
    if noted is None:
        return ""
    origin = json.loads(noted)
    url = origin["url"]
    place = unquote(urlparse(url).path) if url.startswith("file:") else _vcs(origin) + url
    return ("--editable " if origin.get("dir_info", {}).get("editable") else "") + shlex.quote(place)


def _vcs(origin: dict[str, Any]) -> str:
    """``git+`` before the address of a repository; nothing before that of an archive."""
    return f"{origin['vcs_info']['vcs']}+" if "vcs_info" in origin else ""
