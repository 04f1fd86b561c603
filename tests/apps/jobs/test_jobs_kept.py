"""Nothing of a job is lost: locked and broken stores, folders that are away, full disks, pages that are closed."""

import contextlib
import errno
import os
import pkgutil
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_jobs import FAKE, clip, files, steady, until

from genkit.apps.jobs import boot, keeper, publishing
from genkit.apps.jobs import store as jobs
from genkit.apps.jobs.keeper import Keeper
from genkit.apps.jobs.rows import DAMAGED
from genkit.apps.jobs.store import ATTEMPTS, CLOSED, Job, Store, StoreError
from genkit.apps.jobs.worker import Models, work
from genkit.generation.events import Progress
from genkit.request import Request
from genkit.video.video import Video, read_request


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "out")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that take no time."""
    monkeypatch.setattr(jobs, "NOTING", 0.05)
    monkeypatch.setattr(publishing, "PAUSE", 0.01)
    monkeypatch.setattr(publishing, "WAIT", 0.5)


def beginning(store: Store, prompt: str = "a") -> Job:
    """A job that runs."""
    store.submit(Request(prompt=prompt))
    job = store.claim()
    assert job is not None
    return job


def made(store: Store, job: Job, folder: Path) -> None:
    """The files of a finished video, in a folder."""
    folder.mkdir(exist_ok=True)
    clip(job.request).save(folder / store.video(job).name)
    (folder / store.poster(job).name).write_bytes(b"poster")


@contextlib.contextmanager
def held(store: Store) -> Iterator[None]:
    """Another program, such as a backup, holds the store."""
    with contextlib.closing(sqlite3.connect(store._file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def test_a_store_that_is_held_ends_no_job(store: Store, hasty: None) -> None:
    job = store.submit(Request(prompt="a"))
    steps: list[int] = []

    def maker(request: Request, on_event: Callable[[Progress], None], models: Models) -> Video:
        backup = held(store)
        backup.__enter__()
        for step in (1, 2, 3):
            on_event(Progress(step=step, total=3, seconds=1, left=1))
            steps.append(step)
        threading.Timer(1.5, lambda: backup.__exit__(None, None, None)).start()
        return clip(request)

    work(store, maker, once=True)
    assert steps == [1, 2, 3] and store.job(job.id).status == "done" and len(files(store)) == 3


def test_a_person_is_told_what_holds_the_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genkit.apps.jobs.database.Database._transaction.__wrapped__.__defaults__", (0.05,))
    with held(store), pytest.raises(StoreError, match="is locked by another program, perhaps a backup; try again"):
        store.submit(Request(prompt="a"))
    assert not list(store.files.asked.iterdir()), "what was not submitted would come back"


@pytest.mark.parametrize("how", ["closed", "terminated", "page killed"])
def test_a_page_that_is_closed_is_no_crash(store: Store, how: str) -> None:
    """Three times, which is once more than a job may crash."""
    job = store.submit(Request(prompt="wait"))
    command = [sys.executable, "-c", FAKE, str(store.folder)]
    for _ in range(ATTEMPTS + 1):
        if how == "page killed":
            parent = f"import subprocess, time\nsubprocess.Popen({command!r}, stdin=subprocess.PIPE)\ntime.sleep(600)"
            with subprocess.Popen([sys.executable, "-c", parent]) as page:
                until(lambda: store.job(job.id).step and store.job(job.id).status == "running")
                page.kill()
            until(lambda: store.job(job.id).status == "queued")
        else:
            with Keeper(store, command) as running:
                until(lambda: store.job(job.id).step and store.job(job.id).status == "running")
                if how == "terminated":  # as by a service manager, which ends page and worker at once
                    assert running.process is not None
                    running._end.set()
                    running.process.terminate()
        left = store.job(job.id)
        assert (left.status, left.attempts, left.note) == ("queued", 0, CLOSED)
        with store._transaction() as db:
            db.execute("UPDATE jobs SET step = 0")
    work(store, steady, once=True)
    assert store.job(job.id).status == "done"


def test_a_second_page_that_is_closed_leaves_the_first_ones_job_alone(store: Store) -> None:
    job = store.submit(Request(prompt="wait"))
    with Keeper(store, [sys.executable, "-c", FAKE, str(store.folder)]):
        until(lambda: store.job(job.id).step)
        with Keeper(store, [sys.executable, "-c", FAKE, str(store.folder)]) as second:
            until(lambda: second.alive)
        assert (store.job(job.id).status, store.job(job.id).attempts) == ("running", 1)
        store.cancel(job.id)


def test_the_keeper_survives_a_cleared_temporary_folder(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    job = store.submit(Request(prompt="wait"))
    with Keeper(store, [sys.executable, "-c", FAKE, str(store.folder)]) as kept:
        until(lambda: store.job(job.id).step)
        assert kept.process is not None and kept._place is not None
        shutil.rmtree(kept._place)
        first = kept.process.pid
        kept.process.kill()
        until(lambda: kept.alive and kept.process is not None and kept.process.pid != first)
        place = kept._place
        store.cancel(job.id)
        until(lambda: store.job(job.id).over)
    assert "could not be started" not in capfd.readouterr().err and not place.exists()


def test_the_keeper_survives_failed_starts(
    store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real, failures = subprocess.Popen, [OSError(errno.ENOMEM, "Cannot allocate memory"), MemoryError()]

    def start(*line: Any, **how: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*line, **how)

    monkeypatch.setattr(keeper.subprocess, "Popen", start)
    job = store.submit(Request(prompt="a"))
    with Keeper(store, [sys.executable, "-c", FAKE, str(store.folder)]):
        until(lambda: store.job(job.id).status == "done")
    assert "could not be started" in capfd.readouterr().err


@pytest.mark.parametrize("killed", [True, False])
def test_a_folder_may_be_away_for_a_moment(store: Store, killed: bool) -> None:
    job, away = store.submit(Request(prompt="wait")), store.folder.with_name("away")
    with Keeper(store, [sys.executable, "-c", FAKE, str(store.folder)]) as running:
        until(lambda: store.job(job.id).step)
        store.folder.rename(away)
        if killed:
            assert running.process is not None
            os.kill(running.process.pid, signal.SIGKILL)
        time.sleep(1)
        with pytest.raises(StoreError, match="cannot be reached; was the folder moved away"):
            store.job(job.id)
        assert killed or not store.folder.exists(), "a folder was made where the other belongs"
        shutil.rmtree(store.folder, ignore_errors=True)
        away.rename(store.folder)
        until(lambda: store.job(job.id).status == "running" and running.alive)
        store.cancel(job.id)
        until(lambda: store.job(job.id).over)
    assert store.job(job.id).status == "cancelled"


def test_the_real_worker_makes_no_folder(tmp_path: Path) -> None:
    line = [sys.executable, "-c", keeper.WORKER, str(tmp_path / "away")]
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as worker:  # ends with its input
        assert worker.stderr is not None
        assert "was the folder moved away" in worker.stderr.read() and not (tmp_path / "away").exists()


@pytest.mark.parametrize("where", ["in place", "in the making"])
@pytest.mark.parametrize("crashed", [True, False])
def test_a_job_whose_video_is_there_is_done(store: Store, where: str, crashed: bool) -> None:
    job = beginning(store)
    made(store, job, store.folder if where == "in place" else store.making)
    with store._transaction() as db:
        db.execute("UPDATE jobs SET attempts = ?", (ATTEMPTS,))
    store.reclaim(crashed=crashed)
    after = store.job(job.id)
    assert (after.status, after.error, after.request.seed) == ("done", "", 42)
    assert len(files(store)) == 3 and read_request(store.video(after))["prompt"] == "a"


def test_what_was_put_beside_a_video_that_never_came_is_cleared(store: Store) -> None:
    job = beginning(store)
    made(store, job, store.making)
    (store.making / store.video(job).name).write_bytes(b"half")
    shutil.copy(store.making / store.poster(job).name, store.poster(job))
    store.reclaim()
    assert store.job(job.id).status == "queued" and files(store) == []
    work(store, steady, once=True)
    assert store.job(job.id).status == "done" and len(files(store)) == 3


def test_everything_is_on_the_disk_before_the_row_says_done(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    story: list[str] = []
    flush, finish = os.fsync, Store.finish
    monkeypatch.setattr(
        os, "fsync", lambda handle: (story.append(os.readlink(f"/proc/self/fd/{handle}")), flush(handle))
    )
    monkeypatch.setattr(Store, "finish", lambda *given: (story.append("done"), finish(*given)))
    job = store.submit(Request(prompt="a"))
    work(store, steady, once=True)
    before = story[: story.index("done")]
    suffixes = {"".join(Path(path).suffixes) for path in before if Path(path).name.endswith((".jpg", ".mp4", ".json"))}
    assert suffixes >= {".jpg", ".mp4", ".mp4.json"} and before[-1] == str(store.folder)
    assert store.job(job.id).status == "done"


@pytest.mark.parametrize(
    "change",
    [
        """request = '{"prompt": "a", "future": 1}'""",
        "request = '{'",
        "status = 'paused'",
        "step = 'many'",
        "id = '../../etc/passwd'",
    ],
)
def test_one_row_that_cannot_be_read(store: Store, change: str) -> None:
    later, other = store.submit(Request(prompt="later")), store.submit(Request(prompt="other"))
    with store._transaction() as db:
        db.execute(f"UPDATE jobs SET {change} WHERE id = ?", (later.id,))
    work(store, steady, once=True)
    damaged, fine = store.jobs()[::-1]
    assert damaged.damaged and (damaged.status, damaged.error) == ("failed", DAMAGED)
    assert store.job(other.id).status == "done" and not fine.damaged
    assert store.video(damaged).parent == store.folder


def test_a_finished_video_whose_row_cannot_be_read_stays_in_the_gallery(store: Store) -> None:
    job = store.submit(Request(prompt="a"))
    work(store, steady, once=True)
    with store._transaction() as db:
        db.execute("UPDATE jobs SET request = 'x'")
    (shown,) = store.jobs("done")
    assert shown.damaged and shown.note == DAMAGED and store.video(shown).is_file() and shown.id == job.id


def test_a_row_left_running_that_cannot_be_read_stops_nobody(store: Store) -> None:
    beginning(store)
    with store._transaction() as db:
        db.execute("UPDATE jobs SET request = 'x'")
    other = store.submit(Request(prompt="b"))
    work(store, steady, once=True)
    assert store.job(other.id).status == "done"


def breakage(kind: str, file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(file.read_bytes())
    if kind == "other":
        file.write_bytes(b"not a database" * 100)
    elif kind == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif kind == "holes":
        data[4096:] = bytes(len(data) - 4096)
        file.write_bytes(data)
    elif kind == "gone":
        file.unlink()
    else:
        with contextlib.closing(sqlite3.connect(file)) as db:
            db.executescript("DROP TABLE jobs; CREATE TABLE jobs (id TEXT)")


@pytest.mark.parametrize("kind", ["other", "cut", "holes", "gone", "columns"])
def test_a_broken_store_is_moved_aside_and_rebuilt(store: Store, kind: str) -> None:
    done = [store.submit(Request(prompt=text), owner=text) for text in ("ann", "bob")]
    work(store, steady, once=True)
    lost = store.submit(Request(prompt="cancelled"))
    store.cancel(lost.id)
    waiting = store.submit(Request(prompt="waiting"), owner="ann")
    before = files(store)
    breakage(kind, store._file)
    again = Store(store.folder)
    assert [job.id for job in again.jobs("done")] == [job.id for job in done[::-1]]
    assert [job.owner for job in again.jobs("done")] == ["bob", "ann"] and files(again) == before
    assert all(again.job(job.id).request.seed == 42 and again.video(job).is_file() for job in done)
    assert [(job.id, job.owner) for job in again.jobs("queued")] == [(waiting.id, "ann")]
    assert bool(list(store.state.glob("jobs.sqlite*.broken"))) == (kind != "gone")
    work(again, steady, once=True)
    assert again.job(waiting.id).status == "done"


def test_a_rebuilt_store_says_what_is_missing_and_makes_no_removed_video_again(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    removed, kept = (store.submit(Request(prompt=text), owner=text) for text in ("ann", "bob"))
    work(store, steady, once=True)
    for path in store.files.of(store.video(removed)):
        path.unlink()
    breakage("other", store._file)
    assert "was damaged" not in capfd.readouterr().err
    again = Store(store.folder)
    assert [(job.id, job.status, job.owner) for job in again.jobs()] == [(kept.id, "done", "bob")]
    said = capfd.readouterr().err
    assert (
        f"the store in {str(store.folder)!r} was damaged" in said
        and "jobs that failed or were cancelled are no longer" in said
    )


def test_a_machine_that_was_switched_off_is_not_the_jobs_fault(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that ends with the machine left its job running; the next one finds another start of the machine."""
    job = store.submit(Request(prompt="a"))

    def dies(*_: Any) -> Video:
        raise KeyboardInterrupt  # nothing more is noted, as after a kill

    for start in range(ATTEMPTS + 2):
        monkeypatch.setattr(boot, "_boot_id", lambda start=start: f"start {start}")
        with pytest.raises(KeyboardInterrupt):
            work(store, dies, once=True)
        assert (store.job(job.id).status, store.job(job.id).attempts) == ("running", 1)
    assert store.job(job.id).note == CLOSED
    with pytest.raises(KeyboardInterrupt):  # a crash, within one start
        work(store, dies, once=True)
    assert store.job(job.id).attempts == ATTEMPTS
    work(store, steady, once=True)
    assert store.job(job.id).status == "interrupted", "a job that ends its worker is begun for ever"


def test_where_a_start_cannot_be_noted_crashes_count(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    boot.record_boot(store.state)
    monkeypatch.setattr(boot, "_boot_id", lambda: "the next")
    assert boot.has_rebooted(store.state)
    monkeypatch.setattr(boot, "private_file", full)
    boot.record_boot(store.state)
    assert not boot.has_rebooted(store.state)


def test_a_store_that_breaks_while_a_video_is_made_loses_nothing(store: Store) -> None:
    job = store.submit(Request(prompt="a"))

    def maker(request: Request, on_event: Any, models: Models) -> Video:
        on_event(Progress(step=1, total=2, seconds=1, left=1))
        breakage("other", store._file)
        for path in store.state.glob("jobs.sqlite-*"):
            path.unlink()
        return clip(request)

    work(store, maker, once=True)
    assert store.job(job.id).status == "done" and len(files(store)) == 3


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["encode", "poster", "flush", "move"])
@pytest.mark.parametrize("lasts", [True, False])
def test_a_full_disk_is_told_and_the_video_kept(
    store: Store, hasty: None, monkeypatch: pytest.MonkeyPatch, step: str, lasts: bool
) -> None:
    places = {"encode": "genkit.video.video.encode", "poster": "PIL.Image.Image.save"}
    places |= {"flush": "genkit.apps.jobs.files.flush", "move": "genkit.apps.jobs.files.os.replace"}
    tries: list[str] = []
    module, _, name = places[step].rpartition(".")
    real = getattr(pkgutil.resolve_name(module), name)

    def fail(*given: Any, **how: Any) -> Any:
        here = str(given[0]) if step != "poster" else str(given[1])
        if str(store.folder) in here and (lasts or len(tries) < 2):
            tries.append(store.jobs()[0].note)
            full()
        return real(*given, **how)

    monkeypatch.setattr(places[step], fail)
    job = store.submit(Request(prompt="a"))
    work(store, steady, once=True)
    after = store.job(job.id)
    assert "the disk is full" in tries[1] and "the video is finished" in tries[1]
    if not lasts:
        assert after.status == "done" and len(files(store)) == 3
        return
    assert after.status == "failed" and "the disk is full" in after.error and files(store) == []
    kept = Path(after.error.split("saved as ")[1].strip("'"))
    assert read_request(kept)["prompt"] == "a" and stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    shutil.rmtree(kept.parent)


def test_a_full_disk_is_waited_for_no_longer_than_wanted(
    store: Store, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = store.submit(Request(prompt="a"))

    def fail(*_: Any, **__: Any) -> None:
        store.cancel(job.id)
        full()

    monkeypatch.setattr("genkit.video.video.encode", fail)
    work(store, steady, once=True)
    assert store.job(job.id).status == "cancelled" and files(store) == []


def test_a_submission_to_a_full_disk_is_refused_in_words(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.files, "record", full)
    with pytest.raises(StoreError, match="the disk of .*out' is full; free some space there"):
        store.submit(Request(prompt="a"))
    assert store.jobs() == []


def test_only_its_person_reads_a_store(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = Store(tmp_path / "new")
        job = store.submit(Request(prompt="a"))
        work(store, steady, once=True)
        for path in (store.folder, *store.folder.rglob("*")):
            path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o044)
        narrowed = Store(store.folder)
        narrowed.submit(Request(prompt="b"))
        assert files(store) and store.job(job.id).status == "done"
        wide = [str(path) for path in store.folder.rglob("*") if path.stat().st_mode & 0o077]
        assert wide == []
        fresh = Store(tmp_path / "fresh")
        assert not any(path.stat().st_mode & 0o077 for path in (fresh.folder, *fresh.folder.rglob("*")))
    finally:
        os.umask(before)


def test_a_store_of_the_version_before_is_taken_over(store: Store) -> None:
    job = store.submit(Request(prompt="a"))
    with store._transaction() as db:
        db.execute("ALTER TABLE jobs DROP COLUMN owner")
        db.execute("PRAGMA user_version = 1")
    again = Store(store.folder)
    assert again.job(job.id).owner == "" and again.jobs("queued")[0].id == job.id


def test_a_row_opens_no_model_that_the_page_does_not_offer(store: Store, tmp_path: Path) -> None:
    job = store.submit(Request(prompt="a", model=str(tmp_path)))
    work(store, once=True)
    assert "the page does not offer the model" in store.job(job.id).error


def test_names_cannot_be_guessed(store: Store) -> None:
    names = {store.submit(Request(prompt="a")).id for _ in range(5)}
    assert len(names) == 5 and all(len(bytes.fromhex(name)) == 16 for name in names)
