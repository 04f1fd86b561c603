"""Images and videos on the page: which models take them, what is refused, and whose they are after a restart."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
from PIL import Image

from genkit.apps.jobs import models
from genkit.apps.jobs import worker as workers
from genkit.apps.jobs.inputs import NAME, by_name
from genkit.apps.jobs.rows import NewJob, insert
from genkit.apps.jobs.store import Job, Store
from genkit.apps.jobs.worker import work
from genkit.apps.page.form import check, defaults, settings
from genkit.apps.page.inputs import FIELDS, KINDS
from genkit.apps.page.view import View
from genkit.errors import UsageError
from genkit.inputs.reading import read
from genkit.inputs.record import digest_of
from genkit.pipelines.inputs import inputs_of
from genkit.pipelines.known import pipelines
from genkit.request import Request
from genkit.video.video import Video, read_request

I2V, FLF, VACE, LUCY = (
    "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
    "Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers",
    "Wan-AI/Wan2.1-VACE-1.3B-diffusers",
    "decart-ai/Lucy-Edit-Dev",
)
CLASSES = {
    "tiny": "WanPipeline", "wan": "WanPipeline", "wan2.2": "WanPipeline", "wan2.2-5b": "WanPipeline",
    "hunyuanvideo": "HunyuanVideoPipeline", "cogvideox": "CogVideoXPipeline", "cogvideox1.5": "CogVideoXPipeline",
    "ltx": "LTXPipeline", "mochi": "MochiPipeline", "animatediff": "AnimateDiffPipeline",
    "text-to-video-sd": "TextToVideoSDPipeline", "wan-i2v": "WanImageToVideoPipeline",
    "wan2.2-i2v": "WanImageToVideoPipeline", "wan-flf2v": "WanImageToVideoPipeline", "wan-vace": "WanVACEPipeline",
    "lucy-edit": "LucyEditPipeline", "hunyuanvideo-i2v": "HunyuanVideoImageToVideoPipeline",
    "skyreels-v1": "HunyuanSkyreelsImageToVideoPipeline", "skyreels-v2-i2v": "SkyReelsV2ImageToVideoPipeline",
    "framepack": "HunyuanVideoFramepackPipeline", "cogvideox-i2v": "CogVideoXImageToVideoPipeline",
    "cogvideox1.5-i2v": "CogVideoXImageToVideoPipeline",
}  # fmt: skip
"""Pipeline class of each family's checkpoints."""


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "uploads").mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    return tmp_path / "uploads"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "out")


def image(folder: Path, name: str = "a.png", shade: int = 90) -> str:
    Image.new("RGB", (64, 48), (shade, 0, 0)).save(folder / name)
    return str(folder / name)


def film(folder: Path, name: str = "a.mp4") -> str:
    return str(Video(np.zeros((5, 48, 64, 3), np.uint8), 8.0, {"prompt": "a"}).save(folder / name, metadata=False))


def filled(**changes: Any) -> dict[str, Any]:
    return defaults() | changes


def submitted(store: Store, who: str | None = None, **changes: Any) -> Job:
    checked = check(filled(model=I2V, num_frames=17, prompt="a fox", **changes))
    assert checked.request is not None, checked.wrong
    return store.job(View(store, lambda: True).submit(checked.request, who))


def kept(store: Store) -> list[str]:
    folder = store.state / "inputs"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def fake(request: Request, on_event: Any, open_models: Any) -> Video:
    """Make a video whose first pixel is that of the image, and whose recipe has its path, as a real one has."""
    assert isinstance(request.image, dict)
    shade = read("image", request.image, print).frames[0].getpixel((0, 0))[0]
    asked = request.model_dump(mode="json", exclude_none=True) | {"seed": 42}
    return Video(np.full((3, 16, 16, 3), shade, np.uint8), 8.0, asked)


@pytest.mark.parametrize("family", models.FAMILIES)
def test_a_family_takes_what_its_pipeline_takes(family: str) -> None:
    """The call of the pipeline class decides; the page opens no model to know it."""
    facts = next(one for one in pipelines() if any(each.family == family for each in one.published))
    pipeline, offer = getattr(diffusers, CLASSES[family]), models.FAMILIES[family]
    found = inputs_of(pipeline, facts.takes, facts.needs if family not in ("tiny",) else ())
    needed = {name for name, known in found.items() if known.required}
    assert needed <= set(offer.needs) <= needed | {"last_image"} and set(offer.takes) <= found.keys()
    assert set(offer.takes) <= set(FIELDS)


def test_only_published_checkpoints_are_on_offer() -> None:
    assert {one.family for one in models.offered()} == set(models.FAMILIES)
    assert {"Wan-AI/Wan2.1-T2V-1.3B-Diffusers", I2V} <= set(models.names())
    with pytest.raises(UsageError, match="the page does not offer the model 'BestWishYsh/ConsisID-preview'"):
        models.card_of("BestWishYsh/ConsisID-preview")


def test_fields_appear_with_the_model_and_hidden_ones_are_emptied() -> None:
    pytest.importorskip("gradio", reason="the page needs gradio")
    from genkit.apps.page.fields import input_updates

    for model, shown in ((I2V, {"image", "resize"}), (VACE, {"video", "mask", "reference", "resize"}), ("tiny", set())):
        updates = dict(zip((*FIELDS, "resize"), input_updates(model), strict=True))
        assert {key for key, update in updates.items() if update["visible"]} == shown
        assert all("value" not in updates[key] for key in shown), "what was chosen is lost"
        assert all(updates[key]["value"] is None for key in updates.keys() - shown), "a hidden file would be used"


def test_files_reach_the_request(uploads: Path) -> None:
    first, last, moving = image(uploads, "1.png"), image(uploads, "2.jpg"), film(uploads)
    assert check(filled(model=I2V, num_frames=17, image=first)).request.image == first
    both = check(filled(model=FLF, num_frames=17, image=first, last_image=last, resize="pad")).request
    assert (both.image, both.last_image, both.resize) == (first, last, "pad")
    vace = check(filled(model=VACE, num_frames=17, video=moving, mask=first, reference=[first, last])).request
    assert (vace.video, vace.mask, vace.reference) == (moving, first, [first, last])
    assert check(filled(model=VACE, num_frames=17)).request.video is None


def test_what_does_not_fit_is_said_beside_its_field(uploads: Path, tmp_path: Path) -> None:
    (uploads / "evil.png").write_bytes(b"<svg onload=alert(1)>")
    (uploads / "link.png").symlink_to("/etc/hostname")
    still, moving, outside = image(uploads), film(uploads), image(tmp_path, "outside.png")
    gone = "this file is no longer there; choose it again"
    for changes, key, sentence in [
        ({"model": I2V}, "image", "makes a video from a given image; choose one"),
        ({"model": LUCY}, "video", "makes a video from a given video; choose one"),
        ({"model": FLF, "image": still}, "last_image", "makes a video from a given last image"),
        ({"model": I2V, "image": moving}, "image", "not a file for image; give a PNG, JPEG or WebP file"),
        ({"model": LUCY, "video": still}, "video", "not a file for video; give a MP4, WebM or GIF file"),
        ({"model": I2V, "image": str(uploads / "evil.png")}, "image", "not a file for image"),
        ({"model": VACE, "mask": str(uploads / "evil.png")}, "mask", "give an image or a video"),
        ({"model": VACE, "reference": [still] * 9}, "reference", "9 files were given for reference image"),
        ({"model": I2V, "image": [still, still]}, "image", "2 files were given for image, and it takes 1"),
        ({"model": "tiny", "image": still}, "image", "takes no image; remove it, or choose another model"),
        ({"model": I2V, "image": str(uploads / "link.png")}, "image", gone),
        ({"model": I2V, "image": outside}, "image", gone),
        ({"model": I2V, "image": "/etc/hostname"}, "image", gone),
        ({"model": I2V, "image": f"{uploads}/../outside.png"}, "image", gone),
        ({"model": I2V, "image": str(uploads / "never.png")}, "image", gone),
        ({"model": I2V, "image": str(uploads)}, "image", gone),
        ({"model": I2V, "image": still, "resize": "warp"}, "resize", "resize"),
    ]:
        checked = check(filled(num_frames=17, **changes))
        assert checked.request is None and list(checked.wrong) == [key], (changes, checked.wrong)
        assert sentence in checked.wrong[key], checked.wrong
    assert set(KINDS) == {"image", "video", "mask"}


def test_a_job_has_its_own_copy_that_no_stranger_can_read(store: Store, uploads: Path) -> None:
    job = submitted(store, image=image(uploads))
    assert kept(store) == [f"{job.id}/image.png"]
    copy = store.inputs.of(job.id) / "image.png"
    assert job.request.image == {"file": "image.png", "sha256": digest_of(copy)}
    assert not any(path.stat().st_mode & 0o077 for path in (store.inputs.folder, copy.parent, copy))
    assert NAME.fullmatch(copy.name)


def test_the_video_is_made_from_it_after_the_upload_is_gone(store: Store, uploads: Path) -> None:
    """Also by another process, after a restart, and from a store that was lost."""
    job = submitted(store, image=image(uploads, shade=77))
    shutil.rmtree(uploads)
    for path in store.state.glob("jobs.sqlite*"):
        path.unlink()
    again = Store(store.folder)
    work(again, fake, once=True)
    done = again.job(job.id)
    assert done.status == "done", done.error
    recipe = read_request(again.video(done))
    assert recipe["image"] == job.request.image and str(store.folder) not in json.dumps(recipe)
    assert done.request.image == job.request.image


def test_a_second_start_after_a_crash_finds_it(store: Store, uploads: Path) -> None:
    job = submitted(store, image=image(uploads))
    assert store.claim() is not None
    store.reclaim(crashed=True)
    work(store, fake, once=True)
    assert store.job(job.id).status == "done"


@pytest.mark.parametrize("ending", ["done", "cancelled", "failed"])
def test_it_can_be_made_again_whatever_became_of_it(ending: str, store: Store, uploads: Path) -> None:
    job = submitted(store, image=image(uploads, shade=60))
    if ending == "done":
        work(store, fake, once=True)
    elif ending == "cancelled":
        store.cancel(job.id)
    else:
        claimed = store.claim()
        assert claimed is not None
        store.fail(claimed, "because")
    assert store.job(job.id).status == ending
    name, said = View(store, lambda: True).rerun(job.id)
    assert said == "" and kept(store) == sorted([f"{job.id}/image.png", f"{name}/image.png"])
    shutil.rmtree(store.inputs.of(job.id))
    work(store, fake, once=True)
    assert store.job(name).status == "done" and store.job(name).request.image == job.request.image


def test_several_files_of_one_field_keep_their_order(store: Store, uploads: Path) -> None:
    files = [image(uploads, f"{shade}.png", shade) for shade in (30, 10, 20)]
    checked = check(filled(model=VACE, num_frames=17, prompt="a", reference=files))
    job = store.job(View(store, lambda: True).submit(checked.request))
    located = store.ready(job).reference
    assert [one["file"].rpartition("/")[2] for one in located] == [f"reference-{n}.png" for n in (1, 2, 3)]
    assert [read("reference", one, print).frames[0].getpixel((0, 0))[0] for one in located] == [30, 10, 20]


def foreign(store: Store, **fields: Any) -> str:
    """A row that the page did not write."""
    name = "f" * 32
    request = {"prompt": "a", "model": I2V, "num_frames": 17} | fields
    with store._transaction() as db:
        insert(db, NewJob(id=name, owner="", created=time.time(), request=json.dumps(request)), time.time())
    return name


@pytest.mark.parametrize(
    "file", ["/etc/hostname", "../../secret.png", "secret.png", "image.png", "image-1.png/../x.png"]
)
def test_nothing_outside_its_folder_is_read_for_a_job(file: str, store: Store, tmp_path: Path) -> None:
    secret = image(store.state, "secret.png")
    name = foreign(store, image={"file": file, "sha256": digest_of(Path(secret))})
    store.inputs.of(name).mkdir(parents=True)
    (store.inputs.of(name) / "image.png").symlink_to(secret)
    work(store, lambda *given: pytest.fail("it was made"), once=True)
    job = store.job(name)
    assert job.status == "failed" and "no longer there" in job.error
    assert "no longer there" in View(store, lambda: True).rerun(name)[1] and len(store.jobs()) == 1


def test_a_plain_path_in_a_row_is_not_followed(store: Store, tmp_path: Path) -> None:
    name = foreign(store, image=image(tmp_path))
    work(store, lambda *given: pytest.fail("it was made"), once=True)
    assert store.job(name).status == "failed"


@pytest.mark.parametrize("fields", [{"lora": ["/etc/a.safetensors"]}, {"weights": ["/a.gguf"]}, {"base": "/a"}])
def test_a_row_opens_no_file_as_a_model(fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.Models, "pipe", lambda *given: pytest.fail("opened"))
    with pytest.raises(UsageError, match=f"the page does not set {next(iter(fields))}"):
        workers.make(Request(prompt="a", **fields), print, workers.Models())


def test_a_changed_file_is_not_taken_for_the_former(store: Store, uploads: Path) -> None:
    from genkit.making import check_request

    job = submitted(store, image=image(uploads))
    image(store.inputs.of(job.id), "image.png", 200)
    with pytest.raises(UsageError, match="its SHA-256 differs"):
        check_request(store.ready(job))


def test_a_full_queue_and_a_lost_upload_leave_nothing_behind(
    store: Store, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = check(filled(model=I2V, num_frames=17, prompt="a", image=image(uploads))).request
    monkeypatch.setattr("genkit.apps.jobs.store.MAX_WAITING", 0)
    with pytest.raises(UsageError, match="jobs are waiting, which is the limit"):
        View(store, lambda: True).submit(request)
    monkeypatch.setattr("genkit.apps.jobs.store.MAX_WAITING", 20)
    os.unlink(uploads / "a.png")
    with pytest.raises(UsageError, match="image: this file is no longer there; choose it again"):
        View(store, lambda: True).submit(request)
    assert kept(store) == [] and store.jobs() == [] and list((store.state / "inputs").iterdir()) == []


def test_files_of_jobs_that_are_no_longer_listed_go(store: Store, uploads: Path) -> None:
    job = submitted(store, image=image(uploads))
    for name, age in (("0" * 32, 7200), ("1" * 32, 0)):
        (store.inputs.of(name)).mkdir()
        os.utime(store.inputs.of(name), (time.time() - age,) * 2)
    store.prune()
    assert sorted(path.name for path in store.inputs.folder.iterdir()) == sorted([job.id, "1" * 32])


def test_another_accounts_image_stays_its_own(store: Store, uploads: Path) -> None:
    job = submitted(store, who="ann", image=image(uploads))
    view = View(store, lambda: True)
    name, said = view.rerun(job.id, "bob")
    assert "no longer exists" in said and len(store.jobs()) == 1
    assert view.rerun(job.id, "ann")[1] == ""


def test_settings_of_a_file_fill_in_all_but_the_files() -> None:
    record = {"file": "/home/me/a.png", "sha256": "0" * 64}
    values, notes = settings({"prompt": "a", "model": I2V, "image": record, "resize": "fit", "num_frames": 17})
    assert values["image"] is None and values["resize"] == "fit"
    assert notes == ["choose again, because files are not filled in: image"]
    assert by_name({"image": record, "reference": [record]}) == {
        "image": {**record, "file": "a.png"}, "reference": [{**record, "file": "a.png"}],
    }  # fmt: skip
