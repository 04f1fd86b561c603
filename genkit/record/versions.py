"""Versions of installed packages, as receipts and results state them."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version


def version_of(package: str) -> str | None:
    """Return the version of an installed distribution; None where there is none.

    That of torch names its build too (``2.13.0+cu130``), which the package's metadata on PyPI leave out.
    """
    try:
        found = version(package)
    except PackageNotFoundError:
        return None
    return str(import_module("torch").__version__) if package == "torch" else found
