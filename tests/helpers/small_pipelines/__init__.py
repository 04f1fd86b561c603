"""A small random pipeline of every class of diffusers that makes video, built without any download.

``SMALL`` maps the name of a pipeline class, or ``Class-variant`` for a checkpoint of it that only its configuration
tells apart, to a ``SmallPipeline``. ``WITHOUT`` lists the classes that have none, each with the reason.
``MODULAR`` has the modular pipelines, which diffusers makes of blocks.
"""

from small_pipelines import (
    allegro_latte_easyanimate,
    animatediff,
    cogvideox,
    cosmos,
    helios,
    hunyuan,
    kandinsky,
    ltx,
    ltx2,
    minimax_h3,
    modular_twins,
    motif,
    sana,
    skyreels,
    video_unets,
    wan,
    wan_animate2,
    wan_kin,
)
from small_pipelines.form import SmallPipeline
from small_pipelines.without import MODULAR_WITHOUT, WITHOUT

_FILES = (
    *(wan, wan_kin, skyreels, helios, ltx, ltx2, hunyuan, cogvideox, cosmos, sana, kandinsky, motif),
    *(allegro_latte_easyanimate, animatediff, video_unets),
)
SMALL: dict[str, SmallPipeline] = {name: small for file in _FILES for name, small in file.PIPELINES.items()}
MODULAR: dict[str, SmallPipeline] = {
    **minimax_h3.PIPELINES,
    **modular_twins.PIPELINES,
    **wan_animate2.PIPELINES,
}

__all__ = ["MODULAR", "MODULAR_WITHOUT", "SMALL", "WITHOUT", "SmallPipeline", "class_of"]


def class_of(name: str) -> str:
    """Return the pipeline class of an entry: ``WanPipeline`` of ``WanPipeline-5b``."""
    return name.partition("-")[0]
