"""Pipeline classes that have no small pipeline, each with the reason."""

_NO_DENOISER = "has no denoising model: it only {}"

WITHOUT: dict[str, str] = {
    "LTXLatentUpsamplePipeline": _NO_DENOISER.format("enlarges latents"),
    "LTX2LatentUpsamplePipeline": _NO_DENOISER.format("enlarges latents"),
    "LTX2VideoDiffusionDecodePipeline": _NO_DENOISER.format("decodes latents"),
}
"""Reasons by class."""

PENDING: frozenset[str] = frozenset(
    {
        "AllegroPipeline",
        "AnimateDiffControlNetPipeline",
        "AnimateDiffPAGPipeline",
        "AnimateDiffSDXLPipeline",
        "AnimateDiffSparseControlNetPipeline",
        "AnimateDiffVideoToVideoControlNetPipeline",
        "AnimateDiffVideoToVideoPipeline",
        "CogVideoXFunControlPipeline",
        "CogVideoXImageToVideoPipeline",
        "CogVideoXVideoToVideoPipeline",
        "ConsisIDPipeline",
        "EasyAnimateControlPipeline",
        "EasyAnimateInpaintPipeline",
        "EasyAnimatePipeline",
        "HunyuanSkyreelsImageToVideoPipeline",
        "HunyuanVideo15ImageToVideoPipeline",
        "HunyuanVideo15Pipeline",
        "HunyuanVideoFramepackPipeline",
        "HunyuanVideoImageToVideoPipeline",
        "I2VGenXLPipeline",
        "Kandinsky5I2VPipeline",
        "Kandinsky5T2VPipeline",
        "Kandinsky6SRPipeline",
        "Kandinsky6TI2VAPipeline",
        "LattePipeline",
        "MotifVideoImage2VideoPipeline",
        "MotifVideoPipeline",
        "PIAPipeline",
        "StableVideoDiffusionPipeline",
        "TextToVideoZeroPipeline",
        "TextToVideoZeroSDXLPipeline",
        "VideoToVideoSDPipeline",
    }
)
"""Classes whose small pipeline is still to be written; take yours out when you add its entry."""
