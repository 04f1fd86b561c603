"""The frames, rate and colours of files as other tools write them, held against the ffmpeg program and OpenCV."""

import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ffmpeg_program import ffmpeg, shown_by_ffmpeg

from genkit.benchmarks.evaluate import clips
from genkit.benchmarks.suites.similarity import psnr
from genkit.errors import GenkitError, UsageError
from genkit.files.decode import read_film, read_frames, read_header
from genkit.video.video import Video

PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=128x96:rate=30:duration=1.5")
X264 = ("-c:v", "libx264", "-crf", "1", "-pix_fmt", "yuv420p")


def made(path: Path, *words: Any) -> Path:
    ffmpeg(*words, path)
    return path


def by_ffmpeg(path: Path) -> np.ndarray:
    """The frames as the ffmpeg program shows them."""
    return shown_by_ffmpeg(path, read_frames(path).shape[1:3])


def by_opencv(path: Path) -> tuple[int, float]:
    """How many frames OpenCV shows, and the rate by which VBench 0.1.5 samples them."""
    video = cv2.VideoCapture(str(path))
    count = 0
    while video.read()[0]:
        count += 1
    return count, video.get(cv2.CAP_PROP_FPS)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """45 frames with a key frame every 12 and frames out of order between them."""
    return made(tmp_path_factory.mktemp("film") / "base.mp4", *PICTURE, *X264, "-g", 12, "-bf", 2)


# Which frames


@pytest.mark.parametrize("start", [0.1, 0.5, 0.7, 1.2])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_cut_without_recoding_is_no_damage(base: Path, start: float, suffix: str, tmp_path: Path) -> None:
    """The file holds frames from the key frame on, and its edit list hides those before the cut."""
    path = made(tmp_path / f"cut{suffix}", "-ss", start, "-i", base, "-c", "copy")
    film = read_film(path)
    assert len(film.frames) == by_opencv(path)[0] == 45 - round(start * 30) <= read_header(path).frames
    assert film.fps == 30
    assert np.abs(film.frames[0].astype(int) - read_frames(base)[round(start * 30)]).max() == 0


@pytest.mark.parametrize("length", [0.1, 0.3, 0.5, 0.9])
def test_a_cut_at_both_ends_shows_what_players_show(base: Path, length: float, tmp_path: Path) -> None:
    path = made(tmp_path / "cut.mp4", "-ss", 0.4, "-i", base, "-t", length, "-c", "copy")
    film = read_film(path)
    assert len(film.frames) == by_opencv(path)[0]
    assert np.array_equal(film.frames, by_ffmpeg(path))
    assert film.fps == 30


def test_a_cut_copy_that_is_damaged_as_well_is_told(base: Path, tmp_path: Path) -> None:
    path = made(tmp_path / "cut.mp4", "-ss", 0.7, "-i", base, "-c", "copy", "-movflags", "faststart")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * 0.8)])
    with pytest.raises(GenkitError, match=r"only \d+ of 24 frames of .* the file is cut short or damaged"):
        read_frames(path)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts", ".gif"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_file_cut_short_is_told_in_every_container(suffix: str, share: float, tmp_path: Path) -> None:
    codec = {".webm": ("-c:v", "libvpx-vp9"), ".gif": ()}.get(suffix, X264)
    path = made(tmp_path / f"film{suffix}", *PICTURE, *codec)
    assert len(read_frames(path)) == by_opencv(path)[0] == 45
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share) // 188 * 188 + 50])
    with pytest.raises(GenkitError, match="cut short or damaged|damaged, cut short or not a video"):
        read_frames(path)


OPEN = ("-c:v", "libx264", "-x264opts", "open-gop=1:keyint=10:bframes=3")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fragments.mp4", (*X264, "-movflags", "frag_keyframe+empty_moov+default_base_moof+delay_moov")),
        ("every.mp4", (*X264, "-movflags", "dash+frag_every_frame")),
        ("live.webm", ("-c:v", "libvpx", "-live", 1)),
        ("refresh.mp4", ("-c:v", "libx264", "-x264opts", "intra-refresh=1:keyint=10")),
        ("open.mp4", OPEN),
        ("hevc.mp4", ("-c:v", "libx265", "-x265-params", "log-level=none")),
        ("xvid.avi", ("-c:v", "mpeg4", "-bf", 2, "-vtag", "XVID")),
        ("raw.avi", ("-c:v", "rawvideo", "-pix_fmt", "yuv420p")),
        ("grey.mp4", ("-c:v", "libx264", "-pix_fmt", "gray")),
    ],
)
def test_files_of_every_make_show_what_other_tools_show(name: str, words: tuple[Any, ...], tmp_path: Path) -> None:
    path = made(tmp_path / name, *PICTURE, *words)
    film = read_film(path)
    assert (len(film.frames), film.fps) == by_opencv(path) == (45, 30)
    for suffix in (".mkv", ".mp4") if path.suffix == ".mp4" else ():
        copy = made(tmp_path / f"cut{suffix}", "-ss", 0.7, "-i", path, "-c", "copy")
        assert len(read_frames(copy)) == by_opencv(copy)[0]


def test_what_lies_behind_the_end_is_no_damage(base: Path, tmp_path: Path) -> None:
    for suffix in (".mp4", ".mkv", ".avi"):
        path = made(tmp_path / f"film{suffix}", "-i", base, "-c", "copy")
        path.write_bytes(path.read_bytes() + bytes(5000))
        assert len(read_frames(path)) == 45
    picture = made(tmp_path / "film.gif", "-i", base)
    whole = picture.read_bytes()
    for tail in (b"\n", bytes(5000), b"an editor's notes" * 99):
        picture.write_bytes(whole + tail)
        assert len(read_frames(picture)) == 45


def test_a_file_from_a_pipe_does_not_say_its_length_and_is_no_damage(tmp_path: Path) -> None:
    for suffix, form in {".avi": "avi", ".mkv": "matroska", ".gif": "gif", ".ts": "mpegts"}.items():
        path = tmp_path / f"film{suffix}"
        path.write_bytes(ffmpeg(*PICTURE, "-f", form, "-"))
        assert len(read_frames(path)) == 45


def test_a_camera_s_many_tracks_of_sound_are_not_an_attack(base: Path, tmp_path: Path) -> None:
    """Seventeen tracks that begin later have two edits each, and 48,000 samples a second."""
    sounds = ("-itsoffset", 0.2, "-f", "lavfi", "-i", "sine=sample_rate=48000:duration=1") * 17
    maps = [word for number in range(18) for word in ("-map", number)]
    path = made(tmp_path / "film.mov", "-i", base, *sounds, *maps, "-c:v", "copy", "-c:a", "pcm_s16le")
    assert np.array_equal(read_frames(path), read_frames(base))


def test_sound_and_covers_are_not_moving_pictures(base: Path, tmp_path: Path) -> None:
    sound = ("-f", "lavfi", "-i", "sine=duration=1.5")
    cover = made(tmp_path / "cover.jpg", "-i", base, "-frames:v", 1)
    as_cover = ("-c:a", "aac", "-c:v", "copy", "-disposition:v:0", "attached_pic")
    alone = made(tmp_path / "alone.mp4", *sound, "-c:a", "aac")
    covered = made(tmp_path / "covered.mp4", *sound, "-i", cover, "-map", 0, "-map", 1, *as_cover)
    for path in (alone, covered):
        for reader in (read_header, read_frames):
            with pytest.raises(UsageError, match=f"{path.name}' contains sound but no pictures: it is not a video$"):
                reader(path)
    every = made(tmp_path / "every.mp4", *sound, "-i", cover, "-i", base, "-map", 0, "-map", 1, "-map", 2, *as_cover)
    assert np.array_equal(read_frames(every), read_frames(base))


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_frames_are_turned_as_players_turn_them(base: Path, angle: int, suffix: str, tmp_path: Path) -> None:
    path = made(tmp_path / f"turned{suffix}", "-display_rotation", angle, "-i", base, "-c", "copy")
    assert read_frames(path).shape[1:] == ((128, 96, 3) if angle % 180 else (96, 128, 3))
    # FFmpeg turns before it converts, so that halved chroma is spread the other way: not to the bit.
    assert np.abs(read_frames(path).astype(int) - by_ffmpeg(path)).mean() < 0.1


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", ["-display_hflip", "-display_vflip"])
def test_frames_are_mirrored_as_players_mirror_them(base: Path, angle: int, mirror: str, tmp_path: Path) -> None:
    path = made(tmp_path / "turned.mp4", "-display_rotation", angle, mirror, "-i", base, "-c", "copy")
    assert np.abs(read_frames(path).astype(int) - by_ffmpeg(path)).mean() < 0.1


@pytest.mark.parametrize("sides", ["crop_left=16:crop_top=8", "crop_right=6:crop_bottom=4", "crop_left=2"])
def test_a_stream_is_cropped_as_players_crop_it(base: Path, sides: str, tmp_path: Path) -> None:
    """FFmpeg leaves columns on the left in, for speed, unless it is told not to."""
    path = made(tmp_path / "cropped.mp4", "-i", base, "-c", "copy", "-bsf:v", f"h264_metadata={sides}")
    shown = read_frames(path)
    assert shown.shape[1:] == cv2.VideoCapture(str(path)).read()[1].shape
    assert np.abs(shown.astype(int) - by_ffmpeg(path)).max() <= 1


# How fast


VARIABLE = ("-vf", "select='lt(n,20)+not(mod(n,5))'", "-fps_mode", "vfr", "-enc_time_base", "1/600")


def test_a_variable_rate_is_frames_over_seconds(tmp_path: Path) -> None:
    """The last of 25 frames begins after 40/30 s and lasts 1/30 s; a guess from the first frames says 30 a second."""
    path = made(tmp_path / "film.mp4", *PICTURE, *VARIABLE, *X264, "-bf", 0)
    assert read_film(path).fps == pytest.approx(25 / (41 / 30), rel=1e-6) == by_opencv(path)[1]
    for suffix in (".mkv", ".ts", ".mov"):
        copy = made(tmp_path / f"film{suffix}", "-i", path, "-c", "copy")
        assert read_film(copy).fps == pytest.approx(25 / (41 / 30), rel=0.1)


def test_frames_are_sampled_as_vbench_samples_them(tmp_path: Path) -> None:
    """``round(fps / 8)`` of OpenCV's rate, variable rates with reordered frames among them."""
    for number, order in enumerate((("-bf", 0), ("-bf", 3), ("-vf", "fps=20", "-bf", 3), ("-vf", "fps=60"))):
        path = made(tmp_path / f"{number}.mp4", *PICTURE, *(VARIABLE if number < 2 else ()), *X264, *order)
        count, fps = by_opencv(path)
        film = read_film(path)
        assert (len(film.frames), round(film.fps / 8)) == (count, round(fps / 8))
        assert film.fps == fps


@pytest.mark.parametrize("rate", ["24000/1001", "30000/1001", "25", "12.5", "8"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".ts", ".mov"])
def test_a_constant_rate_is_exact_in_every_container(rate: str, suffix: str, tmp_path: Path) -> None:
    codec = ("-c:v", "libvpx-vp9") if suffix == ".webm" else X264
    path = made(tmp_path / f"film{suffix}", "-f", "lavfi", "-i", f"testsrc2=size=64x64:rate={rate}:duration=2", *codec)
    upper, _, lower = rate.partition("/")
    assert read_film(path).fps == float(upper) / float(lower or 1)


def test_the_rate_of_an_avi_is_not_that_of_its_clock(base: Path, tmp_path: Path) -> None:
    path = made(tmp_path / "film.avi", "-i", base, "-c", "copy")
    assert by_opencv(path)[1] == 600  # what the header says
    assert read_film(path).fps == pytest.approx(30, rel=0.03)


@pytest.mark.parametrize("fps", [0.1, 0.3, 1.0, 59.94, 240.0, 1000.0])
@pytest.mark.parametrize("frames", [1, 2, 9])
def test_every_rate_that_is_written_is_read(fps: float, frames: int, tmp_path: Path) -> None:
    path = Video(np.zeros((frames, 64, 64, 3), np.uint8), fps).save(tmp_path / "film.mp4", enlarge=1)
    film = read_film(path)
    assert (len(film.frames), film.fps) == (frames, pytest.approx(fps, rel=1e-5))


def test_a_rate_that_no_video_has_is_told(tmp_path: Path) -> None:
    path = made(tmp_path / "slow.mp4", *PICTURE, "-vf", "setpts=PTS*1000", "-fps_mode", "vfr", *X264)
    with pytest.raises(GenkitError, match=r"slow.mp4' shows 45 frames at 0.03\d* per second; a video has between 0.1"):
        read_film(path)


# Colours


def coloured(path: Path, matrix: str, tag: str, *, extent: str = "tv", pixels: str = "yuv444p") -> Path:
    """A file whose luma and chroma were made with ``matrix``, and which says ``tag`` of itself."""
    way = f"scale=out_color_matrix={matrix}:out_range={extent}:flags=accurate_rnd+full_chroma_int+full_chroma_inp"
    said = f"setparams=colorspace={tag}:range={extent if tag != 'unknown' else 'unknown'}"
    return made(path, *PICTURE, "-frames:v", 3, "-vf", f"{way},format={pixels},{said}", "-c:v", "libx264", "-qp", 1)


def difference(path: Path, other: Path) -> float:
    a, b = (read_frames(each) / 255 for each in (path, other))
    return psnr(float(((a - b) ** 2).mean()))


MATRICES = [
    ("bt709", "bt709"),
    ("bt601", "smpte170m"),
    ("bt601", "bt470bg"),
    ("bt601", "unknown"),
    ("bt2020", "bt2020nc"),
]


@pytest.mark.parametrize(("matrix", "tag"), MATRICES)
def test_one_picture_is_one_picture_under_every_matrix(matrix: str, tag: str, tmp_path: Path) -> None:
    """Read as BT.709, a picture of BT.601 came to 29 dB."""
    true = coloured(tmp_path / "true.mp4", "bt709", "bt709")
    path = coloured(tmp_path / "film.mp4", matrix, tag)
    assert difference(path, true) > 45
    if tag != "bt709":
        assert difference(coloured(tmp_path / "wrong.mp4", matrix, "bt709"), true) < 35


@pytest.mark.parametrize(("matrix", "tag"), MATRICES)
@pytest.mark.parametrize("extent", ["tv", "pc"])
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
def test_colours_are_those_of_the_ffmpeg_program(
    matrix: str, tag: str, extent: str, pixels: str, tmp_path: Path
) -> None:
    path = coloured(tmp_path / "film.mp4", matrix, tag, extent=extent, pixels=pixels)
    assert np.abs(read_frames(path).astype(int) - by_ffmpeg(path)).max() <= 1


@pytest.mark.parametrize(("matrix", "tag"), MATRICES)
def test_the_usual_colours_are_those_of_opencv(matrix: str, tag: str, tmp_path: Path) -> None:
    path = coloured(tmp_path / "film.mp4", matrix, tag, pixels="yuv420p")
    video = cv2.VideoCapture(str(path))
    shown = np.stack([video.read()[1][..., ::-1] for _ in range(3)])
    assert np.array_equal(read_frames(path, tagged=True), shown)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("rgb.mkv", ("-c:v", "libx264rgb", "-crf", 1)),
        ("planes.mkv", ("-c:v", "ffv1", "-pix_fmt", "gbrp")),
        ("alpha.mov", ("-vf", "format=argb", "-c:v", "qtrle")),
        ("alpha.webm", ("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p")),
        ("grey.mkv", ("-c:v", "ffv1", "-pix_fmt", "gray")),
        ("deep.mkv", ("-c:v", "ffv1", "-pix_fmt", "gbrp10le")),
        ("camera.mov", ("-c:v", "prores_ks", "-pix_fmt", "yuv422p10le")),
        ("motion.avi", ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p")),
        ("interlaced.mp4", (*X264, "-flags", "+ilme+ildct", "-x264opts", "tff=1")),
        ("odd.mkv", ("-vf", "scale=127:95", "-c:v", "ffv1", "-pix_fmt", "yuv444p")),
        ("picture.gif", ()),
        ("picture.apng", ("-plays", 0, "-pix_fmt", "rgba")),
    ],
)
def test_every_kind_of_pixels_is_read_as_the_ffmpeg_program_reads_it(
    name: str, codec: tuple[Any, ...], tmp_path: Path
) -> None:
    path = made(tmp_path / name, *PICTURE, *codec)
    assert np.abs(read_frames(path).astype(int) - by_ffmpeg(path)).max() <= 1


# How it is held


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_film_is_held_once(suffix: str, tmp_path: Path) -> None:
    size = 100 * 256 * 256 * 3
    path = made(tmp_path / f"film{suffix}", "-f", "lavfi", "-i", "testsrc2=size=256x256:rate=50:duration=2", *X264)
    tracemalloc.start()
    try:
        frames = clips.decode(path).frames
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert frames.nbytes == size
    assert peak < 1.3 * size


def test_raw_frames_are_held_twice_at_most(tmp_path: Path) -> None:
    """Once as the file has them, and once in [0, 1]."""
    frames = np.random.default_rng(0).random((40, 128, 128, 3), np.float32)
    path = clips.save_raw(Video(frames, 8.0), tmp_path / "film.npz")
    tracemalloc.start()
    try:
        clips.decode(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2.2 * frames.nbytes
