"""Facts that other packages bring, and which facts a pipeline gets: the example of docs/families.md, installed."""

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import families
import pytest
import torch
from tree import TOP

import genkit
from genkit.attention.facts import known as known_models
from genkit.pipelines import known
from genkit.pipelines.matching import card_of, check_index
from genkit.plugins import catalogue

PAGE = (TOP / "docs" / "families.md").read_text()
(MODULE,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
FULL = "radial:density=1,block=8,min_tokens=1,dense_steps=0,dense_layers=0"


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(known_models, "_BY_CLASS", dict(known_models._BY_CLASS))
    monkeypatch.setattr(known, "_REGISTERED", dict(known._REGISTERED))
    monkeypatch.setattr(known, "_LOADED", set(known._LOADED))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package as pip leaves it: a module, and the entry point beside it."""
    (tmp_path / "my_model.py").write_text(MODULE)
    about = tmp_path / "my_model-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-model\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[genkit.facts]\nmy-model = my_model:FACTS\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("my_model", None)


def pipeline_of(model_class: str) -> Any:
    """A small pipeline whose model has a class of that name and nothing known in its bases."""
    pipe = families.FAMILIES["wan"]()
    pipe.transformer.__class__ = type(model_class, (type(pipe.transformer),), {})
    for name in ("WanTransformer3DModel",):
        known_models._BY_CLASS.pop(name, None)
    return pipe


def video(pipe: Any) -> torch.Tensor:
    return torch.as_tensor(pipe(**families.call_arguments("wan")).frames)


def test_a_family_of_another_package_takes_plug_ins(installed: Path) -> None:
    assert len(MODULE.splitlines()) <= 25
    pipe = pipeline_of("MyTransformer3DModel")
    plain = video(pipe)
    with genkit.apply(pipe, catalogue.parse(FULL)) as handle:
        assert handle.card.title == "My Model 1.0" and handle.card.native_frames == 81
        assert torch.allclose(video(pipe), plain, atol=1e-4)
        assert handle.session.run.densities["radial"] and not handle.session.run.refusals
    assert torch.equal(video(pipe), plain)
    assert "my-model" in [one.family for one in known.checkpoints()]


def test_facts_that_cannot_be_loaded_are_named_with_their_package(installed: Path) -> None:
    (installed / "my_model.py").write_text("raise RuntimeError('half a module')")
    for _ in range(2):  # the second time, too
        with pytest.raises(genkit.UsageError, match=r"package my-model cannot be loaded .*half a module"):
            card_of(families.FAMILIES["wan"]())


def test_without_published_checkpoints_what_depends_on_them_says_so() -> None:
    pipe = pipeline_of("MyTransformer3DModel")
    namespace: dict[str, Any] = {}
    exec(MODULE, namespace)
    genkit.register(namespace["MODEL"])
    genkit.register(replace(namespace["PIPELINE"], published=()))
    assert (card_of(pipe).title, card_of(pipe).fps) == ("WanPipeline", None)
    for plugin in (genkit.FreeNoise(), genkit.FrameAnchors(), genkit.PositionInterpolation(), genkit.Windows()):
        with pytest.raises(
            genkit.UsageError, match=r"clips that WanPipeline was trained on, which is not known|has none"
        ):
            genkit.apply(pipe, plugin)
    with genkit.apply(pipe, genkit.FreeNoise(window=3)):
        assert video(pipe).shape
    with pytest.raises(genkit.UsageError, match="the frames per second of WanPipeline are not known; give fps"):
        genkit.generate(pipe, "a red circle", num_frames=17)


def test_the_same_name_twice_is_refused_unless_it_replaces() -> None:
    model, pipeline = known_models.OURS[0], known.OURS[0]
    genkit.register(model)  # the same facts again change nothing
    genkit.register(pipeline)
    for changed in (replace(model, blocks=()), replace(pipeline, branches="order")):
        with pytest.raises(genkit.UsageError, match="is known already"):
            genkit.register(changed)
        genkit.register(changed, replace=True)
    assert card_of(families.FAMILIES["wan"]()).branches == "order"
    with pytest.raises(genkit.UsageError, match="'wan' is neither ModelFacts nor PipelineFacts"):
        genkit.register("wan")  # type: ignore[arg-type]


def test_of_two_that_match_the_one_with_more_needs_wins_and_a_tie_is_an_error() -> None:
    pipe = families.FAMILIES["wan"]()
    wan = known.OURS[0]
    genkit.register(replace(wan, name="with-video", needs=frozenset({"video"}), branches="order"))
    assert card_of(pipe).branches == "names"
    genkit.register(replace(wan, name="with-vae", needs=frozenset({"vae"}), branches="order"))
    assert card_of(pipe).branches == "order"
    genkit.register(replace(wan, name="with-prompt", needs=frozenset({"prompt"})))
    with pytest.raises(genkit.UsageError, match="matches the facts 'with-vae' and 'with-prompt' equally well"):
        card_of(pipe)


def test_what_is_refused_says_why() -> None:
    genkit.register(replace(known_models.OURS[0], refused="its attention is linear"), replace=True)
    sentence = "WanPipeline: no plug-in can work in a WanTransformer3DModel, because its attention is linear"
    with pytest.raises(genkit.UsageError, match=sentence):
        genkit.apply(families.FAMILIES["wan"]())


def test_an_unknown_model_is_named_with_what_is_missing() -> None:
    pipe = pipeline_of("OtherTransformer")
    sentence = (
        r"nothing is known of WanPipeline \(its transformer is a OtherTransformer\).*ModelFacts and PipelineFacts"
    )
    with pytest.raises(genkit.UsageError, match=sentence):
        genkit.apply(pipe)
    genkit.register(replace(known_models.OURS[0], classes=("OtherTransformer",)))
    with pytest.raises(genkit.UsageError, match=r"genkit\.register adds PipelineFacts for others"):
        genkit.apply(pipe)


def test_an_index_is_judged_as_its_pipeline_is() -> None:
    import diffusers

    index = {"_class_name": "WanPipeline", "transformer": ["diffusers", "WanTransformer3DModel"], "vae": [None, None]}
    check_index(diffusers.WanPipeline, index)
    check_index(diffusers.WanImageToVideoPipeline, index)
    with pytest.raises(genkit.UsageError, match="its transformer is a FluxTransformer2DModel"):
        check_index(diffusers.FluxPipeline, {"transformer": ["diffusers", "FluxTransformer2DModel"]})
    with pytest.raises(genkit.UsageError, match="it has no denoising model"):
        check_index(diffusers.LTXLatentUpsamplePipeline, {"vae": ["diffusers", "AutoencoderKLLTXVideo"]})


def test_prompts_over_time_are_refused_where_encoded_texts_cannot_be_joined() -> None:
    genkit.register(replace(known.OURS[0], prompts=None), replace=True)
    pipe = families.FAMILIES["wan"]()
    with pytest.raises(
        genkit.UsageError, match="timeline joins the encoded texts of events, and it is not known where"
    ):
        genkit.apply(pipe, genkit.Timeline())
    assert "_genkit_handle" not in vars(pipe)


def test_a_wan_that_reads_an_image_takes_no_timeline() -> None:
    """Its cross attention takes all but the last 512 tokens for the image, whatever the text's length."""
    from small_pipelines import SMALL

    with_image = SMALL["WanImageToVideoPipeline"].build()
    assert with_image.transformer.config.added_kv_proj_dim is not None
    with pytest.raises(genkit.UsageError, match="its model cuts them at a fixed place"):
        genkit.apply(with_image, genkit.Timeline())


@pytest.mark.parametrize(
    ("name", "plugin", "sentence"),
    [
        (
            "HunyuanVideoImageToVideoPipeline-token_replace",
            "windows:window=3",
            "it takes the first frame of every forward",
        ),
        ("LTXImageToVideoPipeline", "fifo:window=3", "the first latents of .* contain what was given"),
        ("LTXConditionPipeline", "fifo:window=3", "the first latents of .* contain what was given"),
    ],
)
def test_what_would_take_a_frame_for_the_given_image_is_refused(name: str, plugin: str, sentence: str) -> None:
    from small_pipelines import SMALL

    with pytest.raises(genkit.UsageError, match=sentence):
        genkit.apply(SMALL[name].build(), catalogue.parse(plugin))
