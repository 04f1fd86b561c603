"""What goes wrong is put in on purpose: kills at every write, full disks, held stores, folders that are moved, closed
pages. Whatever happens, no job, no finished video and no half file is left over."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_jobs import clip, files, steady, until
from test_jobs_kept import held

from genkit.apps.jobs import publishing
from genkit.apps.jobs.keeper import Keeper
from genkit.apps.jobs.store import ATTEMPTS, Store, StoreError
from genkit.apps.jobs.worker import Models, work
from genkit.generation.events import Progress
from genkit.request import Request
from genkit.tiny import TINY_WEIGHTS
from genkit.video.video import Video, read

pytestmark = pytest.mark.fault
WRITES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "sqlite3.connect")


def killed_at(store: Store, number: int) -> bool:
    """Work in a process that kills itself at its write of this number; whether it came so far."""
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    try:
        count, transaction, flush = 0, Store._transaction, os.fsync

        def step() -> None:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

        def hook(event: str, given: tuple[Any, ...]) -> None:
            writes = event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)
            if event in WRITES or writes:
                step()

        @contextlib.contextmanager
        def stepped(*given: Any) -> Iterator[Any]:
            with transaction(*given) as db:
                yield db
                step()
            step()

        Store._transaction = stepped  # type: ignore[method-assign]
        os.fsync = lambda handle: (flush(handle), step())[0]
        sys.addaudithook(hook)
        work(store, steady, once=True)
    finally:
        os._exit(0)


def check_whole(store: Store, jobs: int) -> None:
    """Every job is done, and there is nothing but its three files."""
    assert [job.status for job in store.jobs()] == ["done"] * jobs
    films = [store.video(job) for job in store.jobs()]
    wanted = [path.name for film in films for path in store.files.of(film)]
    assert files(store) == sorted(wanted) and not store.making.exists()
    assert all(len(read(film).frames) == 3 for film in films)
    assert not list(store.folder.rglob("*.part"))


@pytest.mark.parametrize("begin", range(8))
def test_a_kill_at_every_write(tmp_path: Path, begin: int) -> None:
    """Two jobs; the worker is killed at one write after the other, each time in a new store."""
    for number in range(1 + begin, 10_000, 8):
        store = Store(tmp_path / str(number))
        for text in "ab":
            store.submit(Request(prompt=text))
        far_enough = killed_at(store, number)
        work(Store(store.folder), steady, once=True)
        check_whole(store, 2)
        shutil.rmtree(store.folder)
        if not far_enough:
            assert number > 30, "too few writes were seen"
            return


def test_kills_again_and_again(tmp_path: Path) -> None:
    """A job may be given up after two crashes, and leaves nothing then; a finished one never is."""
    for number in range(5, 80, 7):
        store = Store(tmp_path / str(number))
        store.submit(Request(prompt="a"))
        for _ in range(ATTEMPTS + 1):
            killed_at(store, number)
        work(store, steady, once=True)
        (job,) = store.jobs()
        assert job.status in ("done", "interrupted")
        assert len(files(store)) == (3 if job.status == "done" else 0) and not store.making.exists()
        shutil.rmtree(store.folder)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("left", [0, 4, 8, 16, 24, 32, 48, 64, 96, 160])
def test_a_full_disk(small: Path, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    """It fills while a video is made, and is free again later: every job comes to its end, and is told of meanwhile."""
    monkeypatch.setattr(publishing, "PAUSE", 0.05)
    store, filler = Store(small / "out"), small / "filler"
    first, second = store.submit(Request(prompt="a")), store.submit(Request(prompt="b"))

    def maker(request: Request, on_event: Callable[[Progress], None], models: Models) -> Video:
        if request.prompt == "a":
            filler.write_bytes(bytes(max(0, shutil.disk_usage(small).free - left * 1024)))
            threading.Timer(3, lambda: filler.unlink(missing_ok=True)).start()
        on_event(Progress(step=1, total=1, seconds=1, left=0))
        return clip(request)

    work(store, maker, once=True)
    assert [store.job(job.id).status for job in (first, second)] == ["done", "done"]
    check_whole(store, 2)


@pytest.mark.parametrize("left", [0, 8, 32])
def test_a_disk_that_stays_full(small: Path, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    monkeypatch.setattr(publishing, "WAIT", 1.0)
    store, filler = Store(small / "out"), small / "filler"
    job = store.submit(Request(prompt="a"))

    def maker(request: Request, on_event: Callable[[Progress], None], models: Models) -> Video:
        filler.write_bytes(bytes(max(0, shutil.disk_usage(small).free - left * 1024)))
        threading.Timer(8, lambda: filler.unlink(missing_ok=True)).start()
        return clip(request)

    work(store, maker, once=True)
    after = store.job(job.id)
    if after.status == "done":  # there was room enough
        return check_whole(store, 1)
    assert after.status == "failed" and "disk is full" in after.error and files(store) == []
    kept = Path(after.error.split("saved as ")[1].strip("'"))
    assert len(read(kept).frames) == 3
    shutil.rmtree(kept.parent)


def test_submitting_to_a_full_disk(small: Path) -> None:
    store = Store(small / "out")
    (small / "filler").write_bytes(bytes(shutil.disk_usage(small).free))
    submitted = 0
    for _ in range(10):
        with contextlib.suppress(StoreError):
            store.submit(Request(prompt="a" * 4000))
            submitted += 1
    with pytest.raises(StoreError, match="the disk of .* is full; free some space there"):
        store.submit(Request(prompt="a" * 4000))
    (small / "filler").unlink()
    work(store, steady, once=True)
    check_whole(store, submitted)


def test_a_store_that_is_held_for_half_a_minute(tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    store.submit(Request(prompt="a"))

    def maker(request: Request, on_event: Callable[[Progress], None], models: Models) -> Video:
        with held(store):
            end, step = time.monotonic() + 35, 0
            while time.monotonic() < end:
                step += 1
                on_event(Progress(step=step, total=100, seconds=1, left=1))
        return clip(request)

    work(store, maker, once=True)
    check_whole(store, 1)


def test_a_folder_that_is_away_when_the_video_is_finished(tmp_path: Path) -> None:
    store, away = Store(tmp_path / "out"), tmp_path / "away"
    store.submit(Request(prompt="a"))

    def maker(request: Request, on_event: Callable[[Progress], None], models: Models) -> Video:
        store.folder.rename(away)
        threading.Timer(5, lambda: away.rename(store.folder)).start()
        on_event(Progress(step=1, total=1, seconds=1, left=0))
        return clip(request)

    work(store, maker, once=True)
    check_whole(store, 1)
    assert not away.exists()


@pytest.mark.skipif(not TINY_WEIGHTS.exists(), reason="the embedded model's weights are not there")
def test_a_page_that_is_closed_in_mid_job_with_the_real_worker(tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    job = store.submit(Request(prompt="a large red circle moves right on a navy background", num_frames=5, seed=3))
    for _ in range(ATTEMPTS + 1):
        with Keeper(store):
            until(lambda: store.job(job.id).step or store.job(job.id).over)
        after = store.job(job.id)
        assert after.status == "done" or (after.status, after.attempts) == ("queued", 0)
        with store._transaction() as db:
            db.execute("UPDATE jobs SET step = 0")
    with Keeper(store):
        until(lambda: store.job(job.id).over)
    assert store.job(job.id).status == "done" and len(files(store)) == 3
