"""A small random pipeline of every class of diffusers that makes video, built without any download.

``SMALL`` maps the name of a pipeline class, or ``Class-variant`` for a checkpoint of it that only its configuration
tells apart, to a ``SmallPipeline``. ``WITHOUT`` lists the classes that have none, each with the reason.
"""

from small_pipelines import ltx, others, wan
from small_pipelines.form import SmallPipeline
from small_pipelines.without import PENDING, WITHOUT

SMALL: dict[str, SmallPipeline] = {**wan.PIPELINES, **ltx.PIPELINES, **others.PIPELINES}

__all__ = ["PENDING", "SMALL", "WITHOUT", "SmallPipeline", "class_of"]


def class_of(name: str) -> str:
    """Return the pipeline class of an entry: ``WanPipeline`` of ``WanPipeline-5b``."""
    return name.partition("-")[0]
