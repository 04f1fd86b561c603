"""Opening models: what is passed through, and what is refused with which sentence."""

import families
import pytest
import torch

import genkit


def test_a_pipeline_object_comes_back_itself():
    pipe = families.FAMILIES["wan"]()
    assert genkit.load(pipe) is pipe
    assert genkit.load(pipe, dtype="float16").transformer.blocks[0].attn1.to_q.weight.dtype == torch.float16


def test_a_folder_is_opened(tmp_path):
    families.FAMILIES["text_to_video_sd"]().save_pretrained(tmp_path / "model")
    pipe = genkit.load(tmp_path / "model", dtype="float32", device="cpu")
    assert type(pipe).__name__ == "TextToVideoSDPipeline"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("tinny", "there is no model 'tinny'.*did you mean 'tiny'"),
        ("./nowhere", "there is no model './nowhere'"),
        ("a/b/c", "there is no model 'a/b/c'"),
    ],
)
def test_unknown_models(model, message):
    with pytest.raises(genkit.UsageError, match=message):
        genkit.load(model)


def test_a_folder_without_a_pipeline_says_why(tmp_path):
    with pytest.raises(genkit.GenkitError, match="could not open .* as a diffusers pipeline"):
        genkit.load(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "float23"}, "dtype='float23' is unknown; did you mean 'float32'"),
        ({"offload": "modle"}, "offload='modle' is unknown; did you mean 'model'"),
        ({"attention_backend": "flsh"}, "attention_backend='flsh' is unknown to diffusers; did you mean 'flash"),
    ],
)
def test_wrong_values_are_refused(arguments, message):
    with pytest.raises(genkit.UsageError, match=message):
        genkit.load(families.FAMILIES["wan"](), **arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "cuda"}, "device='cuda' was asked for, but PyTorch finds no CUDA device"),
        ({"offload": "model"}, "offload='model' moves parts between CPU and a GPU, and there is no GPU here"),
        ({"attention_backend": "flash"}, "attention_backend='flash' cannot be used here"),
    ],
)
def test_what_this_machine_cannot_do_is_refused(arguments, message):
    with pytest.raises(genkit.UsageError, match=message):
        genkit.load(families.FAMILIES["wan"](), **arguments)


def test_a_backend_is_set_on_this_model_only():
    from diffusers.models.attention_dispatch import _AttentionBackendRegistry

    before = _AttentionBackendRegistry.get_active_backend()
    pipe = genkit.load(families.FAMILIES["wan"](), attention_backend="_native_math")
    assert str(pipe.transformer.blocks[0].attn1.processor._attention_backend.value) == "_native_math"
    assert _AttentionBackendRegistry.get_active_backend() == before


def test_a_backend_needs_a_transformer():
    with pytest.raises(genkit.UsageError, match="TextToVideoSDPipeline has no transformer to set it on"):
        genkit.load(families.FAMILIES["text_to_video_sd"](), attention_backend="native")


def test_an_unknown_family_is_refused_by_its_index_alone(tmp_path, monkeypatch):
    import diffusers

    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "x"]}')
    monkeypatch.setattr(diffusers.DiffusionPipeline, "from_pretrained", lambda *words, **more: pytest.fail("opened"))
    with pytest.raises(genkit.UsageError, match=r"^nothing is known of StableDiffusionPipeline \(its unet is a x\)"):
        genkit.load(tmp_path)


@pytest.mark.parametrize("name", ['"Gone"', "[1, 2]", "null", '"logging"'])
def test_an_index_that_names_no_class_is_for_diffusers_to_judge(tmp_path, name):
    (tmp_path / "model_index.json").write_text(f'{{"_class_name": {name}}}')
    with pytest.raises(genkit.GenkitError, match="could not open .* as a diffusers pipeline"):
        genkit.load(tmp_path)
