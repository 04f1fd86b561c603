"""What is said of a video file that was cut short, wherever the cut is."""

from pathlib import Path

import av
import numpy as np
import pytest

from genkit.errors import GenkitError, UsageError
from genkit.files.decode import read_frames, read_header
from genkit.video.video import Video

FRAMES = np.random.default_rng(0).integers(0, 256, (9, 64, 64, 3), np.uint8)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """The index stands before the frames."""
    return Video(FRAMES, 8).save(tmp_path / "film.mp4", enlarge=1)


@pytest.mark.parametrize("share", [0.4, 0.7, 0.99])
def test_a_cut_among_the_frames_is_told_in_plain_words(film: Path, share: float) -> None:
    content = film.read_bytes()
    film.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(
        GenkitError, match=r"^only \d of 9 frames of .*film.mp4' can be decoded: the file is cut short or damaged$"
    ):
        read_frames(film)


def test_a_cut_in_the_index_is_told_apart_from_no_video(film: Path, tmp_path: Path) -> None:
    film.write_bytes(film.read_bytes()[:400])
    with pytest.raises(UsageError, match="starts like an MP4 but its index is missing, so it was cut"):
        read_header(film)
    last = tmp_path / "last.mp4"
    with av.open(str(last), "w") as file:  # without faststart the index stands last
        stream = file.add_stream("libx264", rate=8)
        stream.width = stream.height = 64
        for frame in FRAMES:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        file.mux(stream.encode(None))
    assert len(read_frames(last)) == 9
    content = last.read_bytes()
    last.write_bytes(content[: content.rindex(b"moov") - 4])
    with pytest.raises(UsageError, match="starts like an MP4 but its index is missing, so it was cut"):
        read_frames(last)
    text = tmp_path / "text.mp4"
    text.write_bytes(b"no video at all " * 50)
    with pytest.raises(UsageError, match="damaged, cut short or not a video$"):
        read_header(text)
