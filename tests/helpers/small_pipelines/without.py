"""Pipeline classes that have no small pipeline, each with the reason."""

_NO_DENOISER = "has no denoising model: it only {}"

WITHOUT: dict[str, str] = {
    "LTXLatentUpsamplePipeline": _NO_DENOISER.format("enlarges latents"),
    "LTX2LatentUpsamplePipeline": _NO_DENOISER.format("enlarges latents"),
    "LTX2VideoDiffusionDecodePipeline": _NO_DENOISER.format("decodes latents"),
    "EasyAnimateControlPipeline": "is broken in diffusers: its encode_prompt() does not take the text_encoder_index "
    "that every call passes (diffusers issue 13638)",
}
"""Reasons by class."""
MODULAR_WITHOUT: dict[str, str] = {
    "EchoModularPipeline": "has no scheduler, which the noise level of each step is read from",
}
"""Reasons by class of modular pipelines."""
