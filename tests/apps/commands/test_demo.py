"""The demo's five scenes are requests that the library accepts; its loop writes videos and a sheet."""

import numpy as np

from genkit.apps.commands import demo
from genkit.plugins import catalogue
from genkit.plugins.conflicts import check_together
from genkit.tiny.world import parse
from genkit.video.video import Video


def test_the_scenes_show_each_promise():
    requests = [scene.request() for scene in demo.SCENES]
    for request in requests:
        plugins = [catalogue.parse(text) for text in request.plugins]
        check_together(plugins)
        assert (request.num_frames - 1) % 2 == 0
        for text in request.prompt.split("|"):
            parse(text)
    used = {text.partition(":")[0] for request in requests for text in request.plugins}
    assert used == {"radial", "freenoise", "position-interpolation", "timeline"}, "faster, longer and directable"
    assert sum(request.num_frames == 65 for request in requests) == 3
    assert any("|" in request.prompt for request in requests)


def test_run_leaves_five_videos_and_one_sheet(tmp_path, monkeypatch, capsys):
    from test_receipt import receipt  # a complete receipt with made-up figures

    def made(request, on_event=None, pipe=None):
        frames = np.linspace(0, 1, 17 * 64 * 64 * 3).reshape(17, 64, 64, 3)
        return Video(frames, fps=8, request=request.model_dump(), receipt=receipt())

    monkeypatch.setattr("genkit.making.make", made)
    monkeypatch.setattr("genkit.loading.load", lambda model: None)
    demo.run(tmp_path / "demo")
    assert len(list((tmp_path / "demo").glob("*.mp4"))) == 5
    assert (tmp_path / "demo" / "sheet.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert "sheet.png: look here first" in said and said.count("moves: no (0 of 1 windows)") == 5
