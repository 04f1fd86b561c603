"""All sparse methods, including those of other packages, and their example settings."""

from typing import Literal

from genkit.errors import UsageError
from genkit.plugins import catalogue
from genkit.plugins.sparse.method import Sparse

Example = Literal["sparse", "dense", "tiny"]


def names() -> list[str]:
    """Return the names of all sparse methods, sorted."""
    return [name for name in catalogue.names() if issubclass(catalogue.plugin_class(name), Sparse)]


def text(name: str, example: Example) -> str:
    """Return an example of a method as ``catalogue.parse`` reads it, such as its ``Sparse.sparse_example``.

    Raises:
        UsageError: there is no such plug-in, or it is not a sparse method.
    """
    method = catalogue.plugin_class(name)
    if not issubclass(method, Sparse):
        raise UsageError(f"{name} is not a sparse method; known: {', '.join(names())}")
    given = {"sparse": method.sparse_example, "dense": method.dense_example, "tiny": method.tiny_example}[example]
    return f"{name}:{given}" if given else name
