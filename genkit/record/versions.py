"""Versions of installed packages, for receipts and results."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version


def version_of(package: str) -> str | None:
    """Return the version of an installed distribution; None if it is not installed.

    The version of torch includes its build (``2.13.0+cu130``), which the metadata on PyPI omit.
    """
    try:
        found = version(package)
    except PackageNotFoundError:
        return None
    return str(import_module("torch").__version__) if package == "torch" else found
