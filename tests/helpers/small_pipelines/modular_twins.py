"""Modular pipelines around models that have another pipeline too: the same parts, run by blocks."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import diffusers

from genkit.attention.private import BLOCKS
from small_pipelines import cosmos, helios, hunyuan, ltx, ltx2, wan
from small_pipelines.form import SmallModular, SmallPipeline, small

Builder = Callable[[], Any]


def _guider(scale: float) -> Builder:
    """Return the builder of a guider of this strength."""
    return partial(diffusers.ClassifierFreeGuidance, guidance_scale=scale)


def _build(
    kind: str, stock: SmallPipeline, others: Mapping[str, Builder], decode: bool, settings: Mapping[str, Any]
) -> Any:
    """Return a modular pipeline of the parts that a small pipeline of the same model has."""
    pipe, same = getattr(diffusers, kind)(), stock.build()
    if not decode:
        BLOCKS.read(pipe).sub_blocks.pop("decode")
    if hasattr(pipe, "disable_safety_checker"):
        pipe.disable_safety_checker()
    taken = {name: part for name, part in same.components.items() if name in pipe.components and part is not None}
    parts = {name: part for name, part in taken.items() if name not in others}
    pipe.update_components(**parts, **{name: build() for name, build in others.items()}, **settings)
    return pipe


def _twin(
    kind: str,
    stock: SmallPipeline,
    *,
    others: Mapping[str, Builder] | None = None,
    decode: bool = True,
    without: Collection[str] = (),
    **settings: Any,
) -> SmallModular:
    """Return the entry of a modular pipeline, with those arguments of its twin's call that it takes, ``without`` some.

    ``others`` builds the parts that its twin does not have, a guider by default; ``settings`` are of its configuration.
    """
    pipeline = getattr(diffusers, kind)
    taken = {given.name for given in getattr(diffusers, pipeline.default_blocks_name)().inputs} - {*without}
    wanted = {**stock.call, "output_type": "np"}
    call = {name: value for name, value in wanted.items() if name in taken}
    return SmallModular(
        build=small(
            partial(_build, kind, stock, {"guider": _guider(5.0)} if others is None else others, decode, settings)
        ),
        call=call,
        inputs=stock.inputs,
        output="latents",
        note=stock.note,
    )


EXPERTS = {"guider": _guider(5.0), "guider_2": _guider(3.0)}
PIPELINES: dict[str, SmallModular] = {
    "WanModularPipeline": _twin("WanModularPipeline", wan.PIPELINES["WanPipeline"]),
    "WanImage2VideoModularPipeline": _twin("WanImage2VideoModularPipeline", wan.PIPELINES["WanImageToVideoPipeline"]),
    "Wan22ModularPipeline": _twin(
        "Wan22ModularPipeline", wan.PIPELINES["WanPipeline-2.2"], others=EXPERTS, boundary_ratio=0.9
    ),
    "Wan22Image2VideoModularPipeline": _twin(
        "Wan22Image2VideoModularPipeline",
        wan.PIPELINES["WanImageToVideoPipeline-2.2"],
        others=EXPERTS,
        boundary_ratio=0.9,
    ),
    "Wan22VaceModularPipeline": _twin(
        "Wan22VaceModularPipeline", wan.PIPELINES["WanVACEPipeline-2.2"], others=EXPERTS, boundary_ratio=0.9
    ),
    "LTXModularPipeline": _twin("LTXModularPipeline", ltx.PIPELINES["LTXPipeline"]),
    "LTXModularPipeline-image": _twin("LTXModularPipeline", ltx.PIPELINES["LTXImageToVideoPipeline"]),
    "LTX2ModularPipeline": _twin("LTX2ModularPipeline", ltx2.PIPELINES["LTX2Pipeline"], others={}, decode=False),
    "HeliosModularPipeline": _twin("HeliosModularPipeline", helios.PIPELINES["HeliosPipeline"]),
    "HeliosPyramidModularPipeline": _twin("HeliosPyramidModularPipeline", helios.PIPELINES["HeliosPyramidPipeline"]),
    "HeliosPyramidDistilledModularPipeline": _twin(
        "HeliosPyramidDistilledModularPipeline",
        helios.PIPELINES["HeliosPyramidPipeline-distilled"],
        others={"guider": _guider(1.0)},
    ),
    "LTX25ModularPipeline": _twin("LTX25ModularPipeline", ltx2.PIPELINES["LTX2Pipeline"], others={}, decode=False),
    "Cosmos3DistilledModularPipeline": _twin(
        "Cosmos3DistilledModularPipeline",
        cosmos.PIPELINES["Cosmos3OmniPipeline"],
        others={"scheduler": diffusers.FlowMatchEulerDiscreteScheduler},
        without=("guidance_scale",),
        distilled_sigmas=[1.0, 0.5],
    ),
    "HunyuanVideo15ModularPipeline": _twin(
        "HunyuanVideo15ModularPipeline", hunyuan.PIPELINES["HunyuanVideo15Pipeline"]
    ),
    "Cosmos3OmniModularPipeline": _twin(
        "Cosmos3OmniModularPipeline", cosmos.PIPELINES["Cosmos3OmniPipeline"], others={}
    ),
}
