"""Families whose text-to-video pipeline ``families`` builds, and that have nothing more here yet."""

from small_pipelines.form import SmallPipeline, family

PIPELINES: dict[str, SmallPipeline] = {
    "HunyuanVideoPipeline": family("hunyuan"),
    "CogVideoXPipeline": family("cogvideox"),
    "CogVideoXPipeline-1.5": family("cogvideox15"),
    "MochiPipeline": family("mochi"),
    "AnimateDiffPipeline": family("animatediff"),
    "TextToVideoSDPipeline": family("text_to_video_sd"),
}
