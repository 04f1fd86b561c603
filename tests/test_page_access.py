"""A page at an open address: nobody gets anything without a password, and nobody can fill the disk with one."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from genkit.apps import page_serve
from genkit.apps.jobs import Store

ANN = {"username": "ann", "password": "pass:word"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("access") / "out")
    (store.folder / "film.mp4").write_bytes(b"film")
    return store


@pytest.fixture(scope="module")
def client(store: Store) -> Iterator[Any]:
    """A browser's connection to a page on all addresses of this machine."""
    pytest.importorskip("gradio", reason="the page needs gradio")
    import httpx

    with pytest.MonkeyPatch.context() as patch, page_serve.isolated():
        patch.setattr(page_serve, "LARGEST_UPLOAD", "1kb")
        accounts = [(ANN["username"], ANN["password"])]
        page = page_serve.launched(store, SimpleNamespace(alive=True), "0.0.0.0", None, accounts)
        address = f"http://127.0.0.1:{page.server_port}"
        with httpx.Client(base_url=address, trust_env=False, timeout=120) as client:
            yield client
        page.close()


def asked_for(store: Store) -> list[tuple[str, str, dict[str, Any]]]:
    """Everything that a page answers: method, path, body."""
    call = {"data": [], "fn_index": 0, "session_hash": "x"}
    return [
        ("GET", "/config", {}),
        ("GET", "/gradio_api/info", {}),
        ("GET", f"/gradio_api/file={store.folder / 'film.mp4'}", {}),
        ("POST", "/gradio_api/queue/join", {"json": call}),
        ("POST", "/gradio_api/run/newest", {"json": call}),
        ("POST", "/gradio_api/call/newest", {"json": call}),
        ("POST", "/gradio_api/upload", {"files": {"files": b"x"}}),
    ]


def test_nothing_is_given_without_the_password(client: Any, store: Store) -> None:
    for method, path, body in asked_for(store):
        assert client.request(method, path, **body).status_code == 401, path
    assert "Make a video" not in client.get("/").text, "the page is given before the password"
    for wrong in (ANN | {"password": "word"}, ANN | {"password": ""}, ANN | {"username": "bob"}):
        assert client.post("/login", data=wrong).status_code in (400, 422)
    assert client.get("/config").status_code == 401


def test_the_password_opens_it_and_uploads_are_bounded(client: Any, store: Store) -> None:
    assert client.post("/login", data=ANN).status_code == 200
    assert client.get("/config").status_code == 200 and "Make a video" in client.get("/").text
    assert client.get(f"/gradio_api/file={store.folder / 'film.mp4'}").content == b"film"
    small, large = (client.post("/gradio_api/upload", files={"files": bytes(size)}) for size in (500, 5000))
    assert small.status_code == 200 and large.status_code == 413
    assert client.get(f"/gradio_api/file={store.state / 'jobs.sqlite'}").status_code == 403
    client.get("/logout")
