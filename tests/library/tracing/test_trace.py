"""trace: what is found of a pipeline that nothing is known of is enough for plug-ins to work in it."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import families
import pytest
import torch
from small_pipelines import MODULAR, SMALL
from torch import Tensor, nn
from traced_facts import hidden
from tree import HELPERS, TOP

import genkit
from genkit.apps.cli import main
from genkit.attention.facts.model_facts import ModelFacts
from genkit.pipelines.pipeline_facts import PipelineFacts
from genkit.plugins import catalogue
from genkit.tracing.models import trace_model
from genkit.tracing.reading.patterns import pattern_of
from genkit.tracing.trace import Trace

SPARSE = "radial:density=0.4,block=8,min_tokens=1,dense_steps=0,dense_layers=0"
FRESH = """
import sys
import torch
import families
from small_pipelines import SMALL
from traced_facts import hidden
import genkit
from genkit.plugins import catalogue

name, facts, sparse, out = sys.argv[1:]
pipe = SMALL[name].build()
with hidden(pipe):
    exec(compile(open(facts).read(), facts, "exec"))
    with genkit.apply(pipe, catalogue.parse(sparse)) as handle:
        made = SMALL[name].video(pipe)
        assert handle.session.run.densities["radial"] and not handle.session.run.refusals
torch.save(made, out)
"""


@pytest.mark.parametrize("name", ["WanPipeline", "LTXPipeline", "HunyuanVideoPipeline", "CogVideoXPipeline"])
def test_a_traced_family_makes_the_same_sparse_video_as_the_known_one(name: str, tmp_path: Path) -> None:
    """In a fresh process that knows nothing else of the pipeline, bit for bit."""
    pipe = SMALL[name].build()
    with genkit.apply(pipe, catalogue.parse(SPARSE)) as handle:
        known = SMALL[name].video(pipe)
        assert handle.session.run.densities["radial"]
    with hidden(pipe):
        facts = genkit.trace(pipe).write(tmp_path / "facts.py")
    script, out = tmp_path / "fresh.py", tmp_path / "video.pt"
    script.write_text(f"import sys\nsys.path.insert(0, {str(HELPERS)!r})\n{FRESH}")
    subprocess.run([sys.executable, script, name, facts, SPARSE, out], check=True, cwd=tmp_path)
    assert torch.equal(torch.load(out, weights_only=True), known)
    assert not torch.equal(known, SMALL[name].video(pipe))


def test_the_file_has_the_facts_of_the_trace_and_says_what_is_left_to_do(tmp_path: Path) -> None:
    pipe = families.FAMILIES["wan"]()
    with hidden(pipe):
        found = genkit.trace(pipe)
        namespace: dict[str, Any] = {}
        exec(found.write(tmp_path / "facts.py").read_text(), namespace)
    assert namespace["FACTS"] == found.facts
    model, pipeline = found.facts
    assert isinstance(model, ModelFacts) and isinstance(pipeline, PipelineFacts)
    assert model.layers == {"self": r"blocks\.\d+\.attn1", "cross": r"blocks\.\d+\.attn2"}
    assert (model.blocks, model.one_level, model.positions.where) == (("blocks",), None, "rope")
    assert (pipeline.branches, pipeline.prompts, pipeline.published) == ("names", "pairs", ())
    lines = found.source().splitlines()
    marked = [line for line in lines if re.match(r"    (layers|volume|branches|prompts)=", line)]
    assert len(marked) == 4 and all(line.endswith("# traced") for line in marked)
    assert any("# please fill in: published" in line for line in lines)
    assert "missing  published: length and rate of the clips" in found.report()
    assert not [line for line in lines if len(line) > 120]


def test_the_file_is_as_short_as_the_example_and_formatted(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (TOP / "docs" / "families.md").read_text(), re.S)
    pipe = families.FAMILIES["ltx"]()
    with hidden(pipe):
        path = genkit.trace(pipe).write(tmp_path / "facts.py")
    code = [line for line in path.read_text().splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(code) <= 25, "more than a family of one's own may have"
    assert len(example.splitlines()) <= 25
    ruff = Path(sys.executable).parent / "ruff"
    if ruff.exists():
        subprocess.run([ruff, "format", "--check", "--config", TOP / "pyproject.toml", path], check=True)


@pytest.mark.parametrize("offload", [False, True])
def test_the_pipeline_computes_as_before(offload: bool) -> None:
    pipe, arguments = families.FAMILIES["mochi"](), families.call_arguments("mochi")
    if offload:
        pipe.enable_model_cpu_offload(device="cpu")
    plain = torch.as_tensor(pipe(**arguments).frames)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    with hidden(pipe):
        genkit.trace(pipe)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(torch.as_tensor(pipe(**families.call_arguments("mochi")).frames), plain)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in pipe.transformer.modules())


def test_apply_says_that_trace_finds_what_is_missing() -> None:
    pipe = families.FAMILIES["wan"]()
    sentence = r"nothing is known of WanPipeline .*ModelFacts and PipelineFacts .*most of which genkit\.trace\(pipe\)"
    with hidden(pipe), pytest.raises(genkit.UsageError, match=sentence):
        genkit.apply(pipe)


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    found, path = traced("wan"), tmp_path / "facts.py"
    found.write(path)
    with pytest.raises(genkit.UsageError, match="is there already, perhaps with what you filled in"):
        found.write(path)
    with pytest.raises(genkit.UsageError, match=r"must end in \.py"):
        found.write(tmp_path / "facts.txt")
    with pytest.raises(genkit.UsageError, match="choose another place"):
        found.write(tmp_path / "nowhere" / "facts.py")


def traced(name: str) -> Trace:
    pipe = families.FAMILIES[name]()
    with hidden(pipe):
        return genkit.trace(pipe)


def test_facts_that_are_known_already_are_replaced_by_the_file_only() -> None:
    found = genkit.trace(families.FAMILIES["wan"]())
    assert "genkit.register(facts, replace=True)" in found.source()
    assert "genkit.register(facts)\n" in traced("wan").source()


class Blind(nn.Module):
    """A model that takes a timestep and has no attention."""

    def forward(self, hidden_states: Tensor, timestep: Tensor, **others: Any) -> tuple[Tensor]:
        return (0.9 * hidden_states,)


def test_a_model_without_attention_over_the_video_says_so() -> None:
    pipe = families.FAMILIES["wan"]()
    blind = Blind()
    blind.config, blind.dtype = pipe.transformer.config, torch.float32  # type: ignore[assignment]
    blind.device = torch.device("cpu")  # type: ignore[assignment]
    blind.cache_context = pipe.transformer.cache_context  # type: ignore[assignment]
    pipe.__dict__["transformer"] = blind
    found = genkit.trace(pipe)
    sentence = (
        "no call of scaled_dot_product_attention was seen, so its attention is linear, FlexAttention or written out"
    )
    assert found.pipeline is None and found.facts == () and sentence in found.report()
    for use in (found.register, lambda: found.write("facts.py")):
        with pytest.raises(
            genkit.UsageError, match="no facts can be made of it, because the video was not found in its attention"
        ):
            use()


def test_flex_attention_alone_is_not_taken_for_none() -> None:
    found = genkit.trace(SMALL["AnyFlowFARPipeline"].build())
    (model,) = (facts for facts in found.facts if isinstance(facts, ModelFacts))
    assert model.layers == {"cross": r"blocks\.\d+\.attn2"}
    assert "no attention among the video's own tokens was seen: it is linear, FlexAttention or" in found.report()
    assert "modules that look like attention and made no call: blocks.N.attn1" in found.report()


def test_tokens_in_front_whose_number_is_not_known_are_left_to_be_filled_in(tmp_path: Path) -> None:
    """FramePack's history stands before the video: a sparse method is refused in words until somebody says how much."""
    small = SMALL["HunyuanVideoFramepackPipeline"]
    pipe = small.build()
    with hidden(pipe):
        found = genkit.trace(pipe)
        assert "before=before,  # please fill in" in found.source()
        found.register()
        with genkit.apply(pipe, catalogue.parse(SPARSE)), pytest.raises(ValueError, match="fill in `before`"):
            small.video(pipe)


def test_a_volume_that_no_reader_fits_is_read_by_axes_and_patch(tmp_path: Path) -> None:
    """The control net of Cosmos Transfer calls its latents `latents`, as no other model does."""
    small = SMALL["Cosmos2_5_TransferPipeline"]
    pipe = small.build()
    with hidden(pipe):
        found = genkit.trace(pipe, **small.arguments())
    (control,) = (one.facts for one in found.models if one.component == "controlnet")
    assert control is not None and "def volume(model, arguments):" in found.source()
    namespace: dict[str, Any] = {"genkit": None}
    exec(found.source().replace("import genkit\n", "").partition("for facts in FACTS")[0], namespace)
    arguments = {"latents": torch.zeros(1, 4, 5, 6, 8)}
    written = next(one for one in namespace["FACTS"] if one.classes == control.classes)
    assert control.volume(pipe.controlnet, arguments) == written.volume(pipe.controlnet, arguments) == (5, 3, 4)
    assert found.facts[-1].components == ("transformer", "controlnet")  # type: ignore[union-attr]


def test_two_experts_are_one_class_and_both_are_entered() -> None:
    small = SMALL["WanPipeline-2.2"]
    pipe = small.build()
    with hidden(pipe):
        genkit.trace(pipe).register()
        with genkit.apply(pipe, catalogue.parse(SPARSE)) as handle:
            small.video(pipe)
            assert {name.partition(".")[0] for name in handle.session.run.routed} == {"transformer", "transformer_2"}


@pytest.mark.parametrize(
    ("seen", "apart", "pattern"),
    [
        (["blocks.0.attn1", "blocks.1.attn1"], ["blocks.0.attn2"], r"blocks\.\d+\.attn1"),
        (["double.0.attn", "single.3.attn"], [], r"(double|single)\.\d+\.attn"),
        (["a.0.attn1", "a.0.attn2"], ["a.0.attn"], r"a\.\d+\.(attn1|attn2)"),
        (["single.0.attn", "single.1.attn"], ["single.2.attn"], r"single\.(0|1)\.attn"),
    ],
)
def test_names_become_an_expression(seen: list[str], apart: list[str], pattern: str) -> None:
    assert pattern_of(seen, apart) == pattern


def test_long_expressions_begin_anywhere() -> None:
    ends = ["motion_modules.0.transformer_blocks.0.attn1", "motion_modules.0.transformer_blocks.0.attn2"]
    seen = [f"{place}.{end}" for place in ("down_blocks.0", "mid_block", "up_blocks.1") for end in ends]
    pattern = pattern_of(seen, ["down_blocks.0.attentions.0.transformer_blocks.0.attn1"])
    assert pattern == r".*\bmotion_modules\.\d+\.transformer_blocks\.\d+\.(attn1|attn2)"
    assert all(re.fullmatch(pattern, name) for name in seen)


def test_the_command_prints_what_was_found_and_writes_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "facts.py"
    small = ["--set", "num_frames=9", "--set", "max_sequence_length=16"]
    assert main(["trace", "tiny", *small, "--output", str(path)]) == 0
    said = capsys.readouterr().out
    assert "found    layers: " in said and "num_frames=9" in said and said.splitlines()[-1] == str(path)
    assert "genkit.register(facts, replace=True)" in path.read_text()
    assert main(["trace", "tiny", *small, "--output", str(path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["trace", "tiny", "--set", "immage=cat.png"]) == 2
    assert "WanPipeline does not take it" in capsys.readouterr().err


def test_the_command_checks_the_whole_pipeline_with_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    with hidden(genkit.load("tiny")):
        assert main(["trace", "tiny", "--set", "num_frames=9", "--set", "max_sequence_length=16"]) == 0
    said = capsys.readouterr().out
    assert "ok      density" in said and re.search(r"(\d+) of \1 facts are as they say", said)


def test_a_pipeline_of_blocks_is_asked_for_its_inputs() -> None:
    """MiniMax-H3 takes packed tokens with tensors of indices: that the video was not found is said, and no more."""
    pipe = MODULAR["MiniMaxH3ModularPipeline"].build()
    found = genkit.trace(pipe, num_frames=124, height=64, width=64, num_inference_steps=3)
    assert found.pipeline is None and "prompt='a red circle moves right on a blue background'" in found.call
    assert "the video was not found in its attention (transformer: 3 attention calls were seen" in found.report()
    with pytest.raises(
        genkit.UsageError, match="immage: MiniMaxH3ModularPipeline does not take it; it takes references"
    ):
        genkit.trace(pipe, immage=None)


def test_experiments_are_deterministic_or_it_is_said() -> None:
    from genkit.recording.small import record_small

    first = record_small(families.FAMILIES["wan"]()).first["transformer"]
    assert trace_model(first).deterministic
    drawn = torch.Generator().manual_seed(0)
    handle = first.model.blocks[0].register_forward_hook(  # type: ignore[index,union-attr]
        lambda module, args, out: out + 1e-3 * torch.randn(out.shape, generator=drawn)
    )
    assert not trace_model(first).deterministic
    handle.remove()
