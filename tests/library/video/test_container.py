"""What a file from a stranger can do: nothing but be read as what its name says, within bounds."""

import random
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
from tree import TOP

from genkit.benchmarks.evaluate import clips
from genkit.checks import memory
from genkit.errors import GenkitError, UsageError
from genkit.files import apart, decode
from genkit.files.apart import read_header_apart
from genkit.files.container import FORMATS
from genkit.files.decode import read_film, read_frames, read_header
from genkit.video.video import Video

FRAMES = np.random.default_rng(0).integers(0, 256, (9, 64, 64, 3), np.uint8)
INDEX_BOXES = (b"stsz", b"stts", b"stsc", b"stco", b"ctts", b"elst", b"stsd", b"mdhd", b"tkhd")
EVERY_READER = (read_header, read_header_apart, read_film, read_frames, clips.decode, clips.decode_tagged)


def plain(path: Path, frames: np.ndarray = FRAMES, rate: int = 8, codec: str = "mpeg4") -> Path:
    """A video that another tool has written, in the container that the name says."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        file.mux(stream.encode(None))
    return path


@contextmanager
def listener() -> Iterator[tuple[int, list[str]]]:
    """A port that writes down who comes by."""
    visits: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    visits.append(str(server.accept()[1]))
                except TimeoutError:
                    continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], visits
        finally:
            ended.set()
            thread.join()


def references(port: int, other: Path) -> dict[str, str]:
    """Texts that FFmpeg takes for videos: each one names another file, an address or a port."""
    return {
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
        "concat": f"ffconcat version 1.0\nfile '{other}'\n",
        "concat of an address": f"ffconcat version 1.0\nfile 'http://127.0.0.1:{port}/a.mp4'\n",
        "concat of itself": "ffconcat version 1.0\nfile 'clip.mp4'\n" * 50,
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:{port}/a.ts\n#EXT-X-ENDLIST\n",
        "hls of a file": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{other}\n#EXT-X-ENDLIST\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        f"<Representation><BaseURL>http://127.0.0.1:{port}/</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "playlist": f"[playlist]\nFile1=http://127.0.0.1:{port}/a.mp4\n",
        "rtsp": f"rtsp://127.0.0.1:{port}/a\n",
    }


@pytest.mark.parametrize("kind", references(1, Path()))
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_list_of_files_or_addresses_is_not_a_video(kind: str, suffix: str, tmp_path: Path) -> None:
    other = plain(tmp_path / "other.mp4")
    with listener() as (port, visits):
        path = tmp_path / f"clip{suffix}"
        path.write_text(references(port, other)[kind])
        for reader in (read_header, clips.decode):
            with pytest.raises(UsageError, match=f"clip{suffix}' (cannot be read as a video|contains no pictures)"):
                reader(path)
        assert visits == []


def test_a_port_is_not_opened_and_a_quick_answer_comes(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_text(references(45454, path)["sdp"])
    begun = time.monotonic()
    for reader in EVERY_READER:
        with pytest.raises(UsageError, match="cannot be read as a video"):
            reader(path)
    assert time.monotonic() - begun < 20  # FFmpeg's reader of such files waits for ever
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.bind(("127.0.0.1", 45454))


def lends_its_frames(film: Path, path: Path) -> Path:
    """A QuickTime file without frames of its own; an ``alis`` data reference says that they are in ``film``."""
    name = film.name.encode()
    alias = bytearray(150)
    alias[50 : 51 + len(name)] = bytes([len(name)]) + name
    alias[130:134] = b"\0\1\0\1"  # one level up, one level down: the same folder
    body = b"alis\0\0\0\0" + bytes(alias) + b"\0\2" + len(name).to_bytes(2, "big") + name + b"\xff\xff\0\0"
    entry = (len(body) + 4).to_bytes(4, "big") + body
    dref = (16 + len(entry)).to_bytes(4, "big") + b"dref" + b"\0\0\0\0\0\0\0\1" + entry
    content = film.read_bytes()
    old = content.index(b"dref") - 4
    length = int.from_bytes(content[old : old + 4], "big")
    content = content[:old] + dref + content[old + length :]
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        place = content.index(box) - 4
        size = int.from_bytes(content[place : place + 4], "big") + len(dref) - length
        content = content[:place] + size.to_bytes(4, "big") + content[place + 4 :]
    mdat = content.index(b"mdat")
    end = mdat - 4 + int.from_bytes(content[mdat - 4 : mdat], "big")
    path.write_bytes(content[: mdat + 4] + bytes(end - mdat - 4) + content[end:])
    return path


def test_frames_of_another_file_do_not_appear_in_this_one(tmp_path: Path) -> None:
    path = lends_its_frames(plain(tmp_path / "target.mov"), tmp_path / "clip.mov")
    with av.open(str(path), options={"enable_drefs": "1"}) as file:
        assert len(list(file.decode(video=0))) == 9  # what is refused below would work
    with pytest.raises(GenkitError, match="clip.mov' (contains no pictures|can be decoded)|only 0 of 9 frames"):
        read_frames(path)


def test_the_content_must_be_what_the_name_says(tmp_path: Path) -> None:
    film = plain(tmp_path / "film.mkv")
    for suffix in set(FORMATS) - {".mkv", ".webm"}:
        path = film.rename(tmp_path / f"film{suffix}")
        with pytest.raises(UsageError, match=r"its content looks like a \.mkv file: rename it$"):
            read_header(path)
        film = path.rename(tmp_path / "film.mkv")
    assert read_header(film).width == 64


@pytest.mark.parametrize("name", ["film", "film.txt", "film.sdp", "film.m3u8", "film.mp4.part", "film%03d.png", ".mp4"])
def test_a_name_of_no_video_is_refused_before_it_is_opened(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(Video(FRAMES, 8).save(tmp_path / "film.mp4").read_bytes())
    with pytest.raises(
        UsageError, match=f"the name of .*{name}' is not that of a video that can be read: it must end in .mp4"
    ):
        read_header(tmp_path / name)


def test_names_that_ffmpeg_would_take_for_something_else(tmp_path: Path) -> None:
    for name in ("film%03d.mp4", "http:film.mp4", "concat:a.mp4|b.mp4", "-i.mp4", "film\n.mp4", "data:,x.MP4"):
        plain(tmp_path / "film.mp4").rename(tmp_path / name)
        assert len(read_frames(tmp_path / name)) == 9


def test_what_is_no_file_does_not_block(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "absent")
    (tmp_path / "device.mp4").symlink_to("/dev/zero")
    for name in ("pipe", "folder", "dangling", "device", "absent"):
        with pytest.raises(UsageError, match=f"there is no video file .*{name}.mp4'"):
            read_header(tmp_path / f"{name}.mp4")
    with pytest.raises(UsageError, match="there is no video file|cannot be read"):
        read_header(tmp_path / ("long" * 100 + ".mp4"))
    with pytest.raises(UsageError, match="there is no video file|cannot be read"):
        read_header(Path("nul\0.mp4"))


# Bounds


def test_frames_too_large_are_refused_by_the_header(tmp_path: Path) -> None:
    path = plain(tmp_path / "film.mkv", np.zeros((1, 64, 16400, 3), np.uint8), codec="ffv1")
    with pytest.raises(UsageError, match=r"has frames of 16400x64 pixels; at most 67,108,864 pixels and 16,384 on a"):
        read_header(path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_small_file_of_large_frames_is_refused_before_one_is_decoded(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "FILM_BYTES", 8 * 64 * 64 * 3)
    monkeypatch.setattr(decode, "_decode_all", lambda *_: pytest.fail("decoded"))
    path = plain(tmp_path / f"film{suffix}")
    with pytest.raises(
        UsageError, match=r"the 9 frames of 64x64 in .* take .* GiB of memory; at most .* are read: cut"
    ):
        read_frames(path)


def test_the_real_bound_is_some_gigabytes() -> None:
    """120 frames of 8192 x 8192 pixels were decoded, 24 GB, and the evaluation was killed."""
    with pytest.raises(UsageError, match="^these take 22.5 GiB of memory; at most 8 are read: cut it or scale it down"):
        decode.check_fits("these", 120 * 8192 * 8192 * 3)
    assert decode.FILM_BYTES / 8 > 161 * 720 * 1280 * 3


def test_frames_that_do_not_fit_now_are_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "free_memory", lambda: 1000)
    with pytest.raises(decode.TooLittleMemory, match="the 9 frames of 64x64 .* but 9.31e-07 are free: cut it or scale"):
        read_frames(plain(tmp_path / "film.mp4"))


def test_a_container_s_limit_counts_as_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = memory.free_memory()
    assert 0 < free < 2**50
    group = tmp_path / "max", tmp_path / "current"
    monkeypatch.setattr(memory, "GROUPS", (group, (tmp_path / "absent", tmp_path / "absent")))
    for limit, used, left in (("3000", "1000", 2000), ("1000", "3000", 0), ("max", "1000", None)):
        group[0].write_text(f"{limit}\n")
        group[1].write_text(f"{used}\n")
        assert memory.free_memory() == left or left is None and memory.free_memory() > 3000


def test_more_frames_than_the_packets_promise_end_the_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "FILM_BYTES", 7 * 64 * 64 * 3)
    monkeypatch.setattr(decode, "check_fits", lambda *_: None)
    with pytest.raises(UsageError, match="contains more than .* GiB of frames: cut it first"):
        read_frames(plain(tmp_path / "film.mp4"))


def test_a_size_that_changes_on_the_way_is_told(tmp_path: Path) -> None:
    path = tmp_path / "film.ts"  # a stream for broadcasting may change; so do two files one after the other
    small = plain(tmp_path / "small.ts", FRAMES[:, :32, :32], codec="mpeg2video", rate=25)
    path.write_bytes(plain(tmp_path / "large.ts", codec="mpeg2video", rate=25).read_bytes() + small.read_bytes())
    with pytest.raises(
        GenkitError, match=r"frame \d of .* has 32x32 pixels, but those before it have 64x64; a video|only"
    ):
        read_frames(path)


def test_a_comment_of_any_length_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Video(FRAMES, 8, {"prompt": "x" * 2000}).save(tmp_path / "film.mp4")
    assert len(read_header(path).comment) > 2000
    monkeypatch.setattr(decode, "COMMENT_CHARACTERS", 2000)
    with pytest.raises(UsageError, match=r"the comment in .* has 2,\d+ characters; at most 2,000 are read"):
        read_header(path)


def box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "big") for value in values)


def with_index(path: Path, *, samples: int, edits: int = 0, fragments: int = 0) -> Path:
    """An MP4 of a few kilobytes whose index claims anything."""
    table = box(b"stbl", box(b"stsz", numbers(0, 1, samples)), box(b"stts", numbers(0, 1, samples, 1)))
    cuts = box(b"edts", box(b"elst", numbers(0, edits), numbers(1, 0, 0x10000) * edits)) if edits else b""
    track = box(b"trak", cuts, box(b"mdia", box(b"minf", table)))
    parts = box(b"moof", box(b"traf", box(b"trun", numbers(0, 10**8)))) * fragments
    path.write_bytes(box(b"ftyp", b"isom") + box(b"moov", track) + parts + box(b"mdat", bytes(2000)))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v"])
def test_an_index_that_would_fill_the_memory_is_not_opened(suffix: str, tmp_path: Path) -> None:
    """FFmpeg spreads an index out: 600 kB of edits became 1.2 GB, and 100 million samples of one byte 2.4 GB."""
    path = tmp_path / f"film{suffix}"
    for claim, told in (
        ({"samples": 10**8}, "0 edits of 100,000,000 samples"),
        ({"samples": 1000, "edits": 20_000}, "20,000 edits of 1,000 samples"),
        ({"samples": 1, "fragments": 3}, "0 edits of 300,000,001 samples"),
    ):
        begun = time.monotonic()
        with pytest.raises(UsageError, match=f"the index of .* has {told} in .* bytes: it is damaged, or made to"):
            read_header(with_index(path, **claim))
        assert time.monotonic() - begun < 5
    with pytest.raises(UsageError, match="damaged, cut short or not a video|contains no pictures"):
        read_header(with_index(path, samples=1000, edits=30))


def test_boxes_that_never_end_are_walked_once(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    for content in (
        numbers(8) + b"moov" + numbers(1) + b"moov" + bytes(8),
        b"".join(numbers(8 * left) + b"moov" for left in range(3000, 0, -1)),
        (numbers(0) + b"moov") * 3000,
        (numbers(2**32 - 1) + b"trak") * 3000,
    ):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="damaged, cut short or not a video|contains no pictures"):
            read_header(path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov", ".ts"])
def test_damage_of_any_kind_gives_frames_or_one_sentence(suffix: str, tmp_path: Path) -> None:
    """Bytes changed at random, in the index more than elsewhere; 6,600 such files were tried, none took a second."""
    content = plain(
        tmp_path / f"film{suffix}", codec="mpeg2video" if suffix == ".ts" else "mpeg4", rate=25
    ).read_bytes()
    chance, path, refused = random.Random(0), tmp_path / f"damaged{suffix}", 0
    tables = [place for kind in INDEX_BOXES if (place := content.find(kind)) > 0]
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(chance.choice((1, 3, 20))):
            damaged[chance.randrange(min(len(content), chance.choice((800, 10**9))))] = chance.choice((0, 1, 127, 255))
        if tables and chance.random() < 0.5:
            place = chance.choice(tables) + 4 + chance.randrange(40)
            damaged[place : place + 4] = chance.randbytes(4)
        path.write_bytes(damaged)
        for reader in (read_header, read_film):
            try:
                reader(path)
            except GenkitError as error:
                refused += 1
                assert "\n" not in str(error)
    assert refused


# In a process of its own


def test_a_good_header_comes_back_from_the_process(tmp_path: Path) -> None:
    path = Video(FRAMES, 8, {"prompt": "a café 視頻 \\ \u2028"}).save(tmp_path / "film.mp4")
    assert read_header_apart(path) == read_header(path)
    path.unlink()
    with pytest.raises(UsageError, match=f"there is no video file {re.escape(repr(str(path)))}"):
        read_header_apart(path)


def test_nothing_is_imported_from_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Video(FRAMES, 8).save(tmp_path / "film.mp4")
    for module in ("json", "av", "genkit", "subprocess", "tempfile"):
        (tmp_path / f"{module}.py").write_text("open('ran', 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    assert read_header_apart(path).width == 256
    assert not (tmp_path / "ran").exists()


def test_a_file_that_takes_for_ever_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Video(FRAMES, 8).save(tmp_path / "film.mp4")
    monkeypatch.setattr(apart, "PROGRAM", "import time; time.sleep(600)")
    begun = time.monotonic()
    with pytest.raises(UsageError, match="film.mp4' was abandoned after 0.5 s: a good video opens in less than one"):
        read_header_apart(path, seconds=0.5)
    assert time.monotonic() - begun < 30


@pytest.mark.skipif(sys.platform == "win32", reason="limits of memory are POSIX's")
@pytest.mark.parametrize("breakdown", ["import os; os.abort()", "bytearray(2**40)", "print('no answer')"])
def test_a_breakdown_of_ffmpeg_is_not_ours(breakdown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Video(FRAMES, 8).save(tmp_path / "film.mp4")
    monkeypatch.setattr(apart, "PROGRAM", breakdown)
    with pytest.raises(UsageError, match=r"film.mp4' cannot be read: FFmpeg crashed on it \(exit -?\d+\)"):
        read_header_apart(path)


def test_every_opening_of_a_container_is_the_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other file of the tree opens a video, so that no other has to think of all this."""
    folders = [TOP / name for name in ("attention", "schedulers", "genkit", "benchmarks", "apps")]
    opens = re.compile(r"av\.open\((?!.*\"w\")|imopen\(|iio\.|VideoCapture\(|imread\(")
    files = [path for folder in folders for path in folder.rglob("*.py")]
    assert [path.name for path in files if opens.search(path.read_text("utf-8"))] == ["container.py"]
