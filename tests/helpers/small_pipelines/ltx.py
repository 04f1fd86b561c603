"""LTX: text to video, image to video, conditions, and long videos of several prompts."""

from small_pipelines.form import SmallPipeline, family

PIPELINES: dict[str, SmallPipeline] = {"LTXPipeline": family("ltx")}
