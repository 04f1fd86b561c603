"""The oracle reads back what the world paints, also through the autoencoder, blur, noise, tints and ghosts."""

import json
import subprocess
import sys
from collections import Counter
from math import pi

import pytest
import torch
from torch import Tensor

from genkit.errors import GenkitError, UsageError
from genkit.tiny import evaluate as command
from genkit.tiny.autoencoder import PatchAutoencoder
from genkit.tiny.build import (
    TinyConfig,
    assemble_pipeline,
    build_text_encoder,
    build_tokenizer,
    build_transformer,
    save_pipeline,
)
from genkit.tiny.evaluate import EvaluateConfig, evaluate
from genkit.tiny.motions import MOTIONS
from genkit.tiny.oracle import ATTRIBUTES, Reading, Sight, read, read_windows, score
from genkit.tiny.shapes import coverage
from genkit.tiny.sight.pixels import figures
from genkit.tiny.tally import COLUMNS, Result, confusions, held_out_scenes, summarise, wilson
from genkit.tiny.world import BACKGROUNDS, Scene, Thing, caption, draw_scene, render

SEED = 987_654  # training draws from seeds 7 and 1000 and above


def painted(count: int, things: int, seed: int = SEED) -> tuple[list[Scene], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scenes = [draw_scene(generator, things=things, held_out=i % 4 == 0) for i in range(count)]
    return scenes, render(scenes, generator, num_frames=17, side=64)


def shares(scenes: list[Scene], clips: Tensor) -> dict[str, float]:
    right: Counter[str] = Counter()
    for scene, clip in zip(scenes, clips, strict=True):
        right.update({name: int(value) for name, value in score(read(clip), scene).items()})
    return {name: right[name] / len(scenes) for name in (*ATTRIBUTES, "joint")}


@pytest.fixture(scope="module")
def vae() -> PatchAutoencoder:
    generator = torch.Generator().manual_seed(7)
    scenes = [draw_scene(generator, things=1 + i % 2, held_out=False) for i in range(150)]
    clips = render(scenes, generator, num_frames=17, side=64).movedim(2, 1)
    return PatchAutoencoder.fit(clips * 2 - 1, 48, 2, 8)


@torch.no_grad()
def through(vae: PatchAutoencoder, clips: Tensor) -> Tensor:
    video = clips.movedim(2, 1) * 2 - 1
    return vae.decode(vae.encode(video).latent_dist.mode()).sample.movedim(1, 2) / 2 + 0.5


def blurred(clips: Tensor) -> Tensor:
    kernel = (-torch.arange(-4, 5.0).square() / 2).exp()
    rows = torch.nn.functional.pad(clips.flatten(0, 2)[:, None], (4, 4, 4, 4), mode="replicate")
    rows = torch.nn.functional.conv2d(rows, (kernel[:, None] * kernel / kernel.sum() ** 2)[None, None])
    return rows.reshape(clips.shape)


def noisy(clips: Tensor) -> Tensor:
    return clips + 0.04 * torch.randn(clips.shape, generator=torch.Generator().manual_seed(1))


def tinted(clips: Tensor) -> Tensor:
    shift = 0.16 * torch.rand(len(clips), 3, generator=torch.Generator().manual_seed(2)) - 0.08
    return (clips + shift[:, None, :, None, None]).clamp(0, 1)


def haunted(clips: Tensor) -> Tensor:
    """A weak copy of another moment at another place."""
    return 0.8 * clips + 0.2 * clips.roll((3, -6, 9), (1, 3, 4))


@pytest.mark.parametrize("things", [1, 2])
def test_clean_clips_are_read_right(things):
    found = shares(*painted(150, things))
    assert min(found.values()) >= 0.99, found


@pytest.mark.parametrize("things", [1, 2])
def test_decoded_clips_are_read_right(things, vae):
    scenes, clips = painted(50, things, SEED + 1)
    found = shares(scenes, through(vae, clips))
    assert min(found.values()) >= 0.98, found


@pytest.mark.parametrize("spoil", [blurred, noisy, tinted, haunted])
def test_spoiled_clips_are_read_right(spoil):
    for things in (1, 2):
        scenes, clips = painted(20, things, SEED + 2)
        found = shares(scenes, spoil(clips))
        assert min(found.values()) >= 0.95, (things, found)


@pytest.mark.parametrize("words", ["pink cross beige", "green cross gray", "purple cross gray"])
def test_small_soft_crosses_are_no_discs_and_no_tilted_squares(words, vae):
    color, shape, background = words.split()
    scenes = [Scene((Thing("small", color, shape, motion),), background) for motion in ("orbit", "left", "up") * 2]
    clips = through(vae, render(scenes, torch.Generator().manual_seed(8), num_frames=17, side=64))
    assert [read(clip).things[0].shape for clip in clips] == ["cross"] * 6
    assert [read(clip).things[0].shape for clip in blurred(clips)].count("cross") >= 5


@pytest.mark.parametrize("shape", ["square", "triangle", "cross", "star"])
@pytest.mark.parametrize("motion", ["spin", "still"])
def test_spin_is_seen_and_not_imagined(shape, motion, vae):
    scenes = [Scene((Thing(size, "cyan", shape, motion),), "brown") for size in ("small", "medium", "large") * 2]
    clips = render(scenes, torch.Generator().manual_seed(4), num_frames=17, side=64)
    for spoil in (lambda c: c, lambda c: through(vae, c), blurred, noisy):
        assert [read(clip).things[0].motion for clip in spoil(clips)] == [motion] * 6


def by_hand(x: Tensor, y: Tensor, radius: Tensor, shape: str = "circle") -> Reading:
    """A blue thing on white that follows a path of the test's own."""
    mask = coverage(shape, x, y, radius, torch.zeros(17), 64)[:, None]
    return read(
        torch.tensor((0.96, 0.96, 0.96))[:, None, None].lerp(torch.tensor((0.12, 0.36, 0.96))[:, None, None], mask)
    )


def test_paths_that_the_world_did_not_draw():
    time, half = torch.linspace(0, 1, 17), torch.full((17,), 0.5)
    small = torch.full((17,), 0.12)
    circling = by_hand(0.5 - 0.15 * (2 * pi * time).sin(), 0.5 + 0.15 * (2 * pi * time).cos(), small)
    assert [thing.motion for thing in circling.things] == ["orbit"]
    assert by_hand(0.3 + 0.4 * time.square(), half, small).things[0].motion == "right"
    assert by_hand(half, half, 0.1 + 0.15 * time.sqrt(), "square").things[0].motion == "grow"
    zigzag = 0.5 + 0.1 * (-1) ** torch.arange(17)
    assert by_hand(zigzag, 0.5 + 0.1 * (7 * time * pi).sin(), small).things[0].motion is None


def test_what_has_no_shape_has_no_name():
    generator = torch.Generator().manual_seed(0)
    frames = torch.full((17, 3, 64, 64), 0.96)
    speckles = torch.rand(17, 1, 24, 24, generator=generator) < 0.5
    frames[:, :, 20:44, 20:44] = torch.where(speckles, torch.tensor((0.88, 0.1, 0.12))[:, None, None], 0.96)
    thing = read(frames).things[0]
    assert (thing.color, thing.shape) == ("red", None)


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_an_empty_picture_shows_nothing(background):
    frames = torch.tensor(BACKGROUNDS[background])[:, None, None].expand(17, 3, 64, 64)
    noise = 0.04 * torch.randn(17, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert read(frames) == read(frames + noise) == Reading((), background)


def test_a_patchwork_has_no_background():
    scenes, clips = painted(3, 1)
    patches = torch.rand(17, 3, 8, 8, generator=torch.Generator().manual_seed(0)).repeat_interleave(8, 2)
    empty = clips.clone()
    empty[:] = patches.repeat_interleave(8, 3)
    assert read(empty[0]).background is None and [read(clip).background for clip in clips] == [
        scene.background for scene in scenes
    ]


@pytest.mark.parametrize("background", ["black", "navy"])
def test_the_noise_of_a_colour_is_no_second_thing(background, vae):
    scenes = [Scene((Thing("large", "orange", shape, "still"),), background) for shape in ("circle", "square")]
    clips = render(scenes, torch.Generator().manual_seed(3), num_frames=17, side=64)
    for clip in (*noisy(clips), *noisy(through(vae, clips))):
        assert [thing.color for thing in read(clip).things] == ["orange"]


def test_a_thing_that_its_ghost_darkens_in_part_stays_whole():
    scene = Scene((Thing("medium", "red", "square", "right"),), "white")
    clip = render([scene], torch.Generator().manual_seed(0), num_frames=17, side=64)[0]
    assert score(read(0.75 * clip + 0.25 * clip.roll((-5, 5), (2, 3))), scene)["joint"]


def test_clutter_beside_a_thing_is_no_thing():
    scene = Scene((Thing("large", "red", "ring", "still"),), "beige")
    clip = render([scene], torch.Generator().manual_seed(0), num_frames=17, side=64)[0]
    specks = torch.rand(17, 1, 32, 32, generator=torch.Generator().manual_seed(1)) < 0.05
    specks = specks.repeat_interleave(2, 2).repeat_interleave(2, 3)
    cluttered = torch.where(specks, torch.tensor((0.56, 0.16, 0.72))[:, None, None], clip)
    assert len(figures(cluttered)) == 2
    assert score(read(cluttered), scene)["joint"]


@pytest.mark.parametrize("scale", [0.1, 0.5, 3.0])
def test_noise_and_extremes_do_not_crash(scale):
    noise = torch.randn(17, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert len(read((0.5 + scale * noise).clamp(0, 1)).things) <= 2
    assert read(torch.zeros(17, 3, 64, 64)).things == read(torch.ones(17, 3, 64, 64)).things == ()


def test_bytes_and_larger_pictures_read_alike():
    scenes, clips = painted(6, 2, SEED + 3)
    for clip in clips:
        large = clip.repeat_interleave(2, 2).repeat_interleave(2, 3)
        assert read((clip * 255).round().to(torch.uint8)) == read(large) == read(clip)


def test_a_long_clip_is_read_window_by_window():
    scenes, clips = painted(2, 1, SEED + 4)
    long = torch.cat([clips[0], clips[1][1:]])  # 33 frames: two windows that share one
    first, second = read_windows(torch.cat([clips[0], clips[1]]), stride=17)
    assert score(first, scenes[0])["joint"] and score(second, scenes[1])["joint"]
    assert len(read_windows(long)) == 2 and read_windows(long)[0] == read(clips[0])
    assert len(read_windows(clips[0])) == 1 and len(read_windows(long, stride=4)) == 5


@pytest.mark.parametrize("motion", [motion for motion in MOTIONS if motion in ("orbit", "bounce", "spin", "still")])
def test_endless_motions_are_read_in_every_window(motion):
    scene = Scene((Thing("medium", "pink", "star", motion),), "navy")
    clip = render([scene], torch.Generator().manual_seed(6), num_frames=65, side=64)[0]
    assert [score(reading, scene)["joint"] for reading in read_windows(clip, stride=12)] == [True] * 5


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(17, 64, 64, 3), r"the shape must be \[T, 3, S, S\] with S a multiple of 64"),
        (torch.zeros(17, 3, 60, 60), r"shape \[17, 3, 60, 60\] cannot be read"),
        (torch.zeros(16, 3, 64, 64), "needs 17 frames, not 16; use read_windows"),
        (torch.full((17, 3, 64, 64), torch.nan), "contain NaN or infinity"),
        (torch.zeros(17, 3, 64, 64, dtype=torch.int64), "must be uint8, or finite floats"),
    ],
)
def test_what_cannot_be_read_is_refused(frames, message):
    with pytest.raises(UsageError, match=message):
        read(frames)


def test_a_clip_without_a_window_is_refused():
    with pytest.raises(UsageError, match="16 frames with a stride of 16 contain no window"):
        read_windows(torch.zeros(16, 3, 64, 64))
    with pytest.raises(UsageError, match="a stride of at least 1"):
        read_windows(torch.zeros(17, 3, 64, 64), stride=0)


STAR, RING = Sight("small", "red", "star", "left"), Sight("medium", "blue", "ring", "still")
BOTH = Scene((Thing("small", "red", "star", "left"), Thing("medium", "blue", "ring", "still")), "navy")
ONE = Scene(BOTH.things[:1], "navy")
ALL = {*ATTRIBUTES, "joint"}


def right(scene: Scene, *things: Sight, background: str = "navy") -> set[str]:
    found = score(Reading(things, background), scene)
    assert list(found) == [*ATTRIBUTES, "joint"]
    return {name for name, value in found.items() if value}


def test_scores_in_single_stories():
    assert right(ONE, STAR) == ALL
    assert right(BOTH, STAR, RING) == right(BOTH, RING, STAR) == ALL
    assert right(BOTH, STAR, RING, background="black") == ALL - {"background", "joint"}
    assert right(ONE, Sight("large", "red", "star", "left")) == ALL - {"size"}
    assert right(ONE, Sight("small", "red", None, "left")) == ALL - {"shape", "joint"}
    assert right(BOTH, Sight("small", "red", "star", "up"), RING) == ALL - {"motion", "joint"}


def test_attributes_that_changed_places_are_wrong():
    swapped = Sight("medium", "red", "ring", "still"), Sight("small", "blue", "star", "left")
    assert right(BOTH, *swapped) == {"color", "background"}
    assert right(BOTH, STAR, Sight("medium", "green", "ring", "still")) == {"shape", "size", "motion", "background"}


def test_missing_and_superfluous_things():
    assert right(BOTH, STAR) == right(BOTH) == right(ONE) == {"background"}
    assert right(ONE, STAR, RING) == right(ONE, RING, STAR) == ALL - {"color", "joint"}


# --- the command ---


def test_wilson_intervals():
    assert wilson(0, 0).high == 1 and wilson(0, 0).low == 0
    half = wilson(50, 100)  # 0.404 to 0.596, the textbook's example
    assert (round(half.low, 3), half.share, round(half.high, 3)) == (0.404, 0.5, 0.596)
    assert wilson(10, 10).low == pytest.approx(0.722, abs=1e-3) and wilson(10, 10).high == pytest.approx(1)


def test_held_out_scenes_are_the_same_for_a_seed_and_in_turn_of_one_and_two():
    scenes = held_out_scenes(40, 3)
    assert scenes == held_out_scenes(40, 3) != held_out_scenes(40, 4)
    assert [len(scene.things) for scene in scenes] == [1, 2] * 20
    assert all(thing.held_out for scene in scenes for thing in scene.things)


def test_the_longest_caption_fits_into_the_text():
    long = [Thing("small", color, "triangle", "orbit") for color in ("orange", "purple")]
    tokens = build_tokenizer()(caption(Scene(tuple(long), "beige"))).input_ids
    assert len(tokens) <= command.MAX_TEXT and build_tokenizer().unk_token_id not in tokens


@pytest.fixture(scope="module")
def folder(tmp_path_factory, vae):
    torch.manual_seed(0)
    size = TinyConfig(layers=1, heads=1, ffn=32, text_width=32, text_layers=1)
    path = tmp_path_factory.mktemp("pipeline")
    text_encoder, transformer = build_text_encoder(size, len(build_tokenizer())), build_transformer(size)
    save_pipeline(path, assemble_pipeline(vae, text_encoder.half(), transformer.half()))
    return path


def test_an_untrained_model_is_measured_and_found_wrong(folder):
    config = EvaluateConfig(prompts=4, steps=2, batch=3)
    pipe = command.load_pipeline(folder)
    assert {p.dtype for part in (pipe.text_encoder, pipe.transformer) for p in part.parameters()} == {torch.float32}
    results = evaluate(pipe, config)
    assert [r.scene for r in results] == held_out_scenes(4, 0)
    rows = summarise(results)
    assert list(rows) == ["one thing", "two things", "all"]
    for row in rows.values():
        assert list(row) == list(COLUMNS) and row["joint"].share == 0
        assert all(0 <= s.low <= s.share <= s.high <= 1 for s in row.values())
    first, again = (torch.stack(list(command.generate(pipe, held_out_scenes(4, 0), c))) for c in (config, config))
    alone = torch.stack(
        list(command.generate(pipe, held_out_scenes(4, 0), EvaluateConfig(prompts=4, steps=2, batch=1)))
    )
    assert first.shape == (4, 17, 3, 64, 64) and torch.equal(first, again)
    torch.testing.assert_close(first, alone, atol=1e-3, rtol=0)  # the noise does not depend on the batch


def test_the_command_prints_a_table(folder, capsys):
    command.main(["--model", str(folder), "--prompts", "2", "--steps", "1"])
    text = capsys.readouterr().out
    assert all(word in text for word in ("one thing", "two things", "joint", "motions confused", "ceiling"))


def test_a_fresh_process_prints_one_object(folder):
    line = [sys.executable, "-m", "genkit.tiny.evaluate", "--model", folder, "--prompts", "2", "--steps", "1", "--json"]
    found = json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)
    assert found["config"]["prompts"] == len(found["clips"]) == 2 and set(found["summary"]["all"]) == ALL


def test_confusions_count_things_of_the_right_colour():
    results = [
        Result(ONE, Reading((Sight("small", "red", found, "left"),), "navy"), {})
        for found in ("star", "ring", None, "ring")
    ] + [Result(ONE, Reading((RING,), "navy"), {})]
    assert confusions(results, "shape") == [("star", "ring", 2), ("star", "none", 1)]


def test_a_folder_without_a_model_and_a_senseless_number_are_refused(tmp_path, capsys):
    with pytest.raises(GenkitError, match="does not contain a pipeline .*give the folder of a trained model by"):
        command.load_pipeline(tmp_path)
    with pytest.raises(UsageError, match="prompts=0 must be at least 1"):
        EvaluateConfig(prompts=0)
    for arguments, code in ((["--model", str(tmp_path)], 1), (["--prompts", "0"], 2)):
        with pytest.raises(SystemExit) as stop:
            command.main(arguments)
        assert stop.value.code == code and capsys.readouterr().err.startswith("error: ")
