"""Wan: text to video of 2.1, of 2.2 with two experts and of 2.2's 5B, and what is made from images and videos."""

from small_pipelines.form import SmallPipeline, family

PIPELINES: dict[str, SmallPipeline] = {
    "WanPipeline": family("wan"),
    "WanPipeline-2.2": family("wan22"),
    "WanPipeline-5b": family("wan22_5b"),
}
