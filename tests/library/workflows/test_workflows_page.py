"""docs/workflows.md: what users do to a pipeline, whether it works with plug-ins, and the test that shows it.

``make workflows`` writes the table. Every test of this folder belongs to a row, and every row to tests that exist.
"""

import ast
from dataclasses import dataclass
from pathlib import Path

from tree import TOP

PAGE = TOP / "docs" / "workflows.md"
BEGIN, END = "<!-- workflows: begin -->", "<!-- workflows: end -->"
REPLACED = "pipe.transformer was replaced after apply(), so the plug-ins are not in it"


@dataclass(frozen=True)
class Row:
    """A workflow, what becomes of it before and inside ``apply``, and the tests that show it."""

    what: str
    before: str
    inside: str
    remark: str
    file: str
    tests: tuple[str, ...]


ROWS = (
    Row(
        "offload: model, sequential, group (leaf, block, disk)",
        "yes",
        "yes",
        "three videos in a row, each bit-identical to no offload (on disk: to rounding, as in stock)",
        "test_offload.py",
        (
            "test_three_videos_are_as_without_offload",
            "test_further_families_too",
            "test_groups_on_disk_are_as_in_memory",
            "test_the_receipt_of_each_video_has_all_its_calls",
        ),
    ),
    Row(
        "layerwise casting (float8, float16 storage), `pipe.to(dtype)`",
        "yes",
        "yes",
        "",
        "test_precision.py",
        ("test_weights_cast_before_are_those_cast_inside", "test_float8_storage_of_further_families"),
    ),
    Row(
        "`fuse_qkv_projections`, and taking them apart",
        "yes",
        "yes",
        "diffusers fuses nothing in HunyuanVideo",
        "test_fused_projections.py",
        (
            "test_fused_before_is_fused_inside",
            "test_taken_apart_inside_is_as_before",
            "test_hunyuan_stays_as_it_is",
        ),
    ),
    Row(
        "LoRA: load, `set_adapters`, fuse, unfuse, disable, delete, unload",
        "yes",
        "yes",
        "also between two steps; needs `peft`",
        "test_adapters.py",
        (
            "test_each_step_inside_is_the_same_step_on_what_was_loaded_before",
            "test_two_adapters_with_weights_are_diffusers_own",
            "test_an_adapter_that_comes_between_two_steps_acts_from_the_next",
            "test_an_adapter_of_another_model_is_refused_and_the_plug_ins_stay",
        ),
    ),
    Row(
        "an adapter that wraps a whole attention layer (`modules_to_save`)",
        "yes",
        "refused",
        "pipe.transformer.blocks.0.attn1 was replaced after apply(), so the plug-ins are not in it",
        "test_adapters.py",
        ("test_an_attention_layer_that_peft_replaces_is_routed_or_an_error",),
    ),
    Row(
        "offload, casting, adapters, fused projections and compiled blocks together",
        "yes",
        "yes",
        "",
        "test_together.py",
        ("test_changes_in_a_row",),
    ),
    Row(
        "`enable_free_noise` of AnimateDiff",
        "yes",
        "refused",
        "pipe.unet.down_blocks.0.motion_modules.0.transformer_blocks.0.attn1 was replaced after apply()",
        "test_together.py",
        ("test_long_videos_of_animatediff_by_diffusers_itself",),
    ),
    Row(
        "quantized weights: torchao int8, quanto int8, GGUF",
        "yes",
        "-",
        "through diffusers' configurations; bitsandbytes needs a GPU and was not run",
        "test_quantized.py",
        ("test_plug_ins_work_on_quantized_weights",),
    ),
    Row(
        "`torch.compile`: the model, its wrapper, `compile_repeated_blocks`, `dynamic=True`",
        "yes",
        "yes",
        'attention runs eagerly, the rest is compiled; tried with `backend="eager"`',
        "test_compiled.py",
        (
            "test_the_blocks_of_wan_with_a_sparse_method",
            "test_a_compiled_model_computes_the_same",
            "test_dynamic_shapes",
        ),
    ),
    Row(
        "`torch.compile(fullgraph=True)`",
        "refused",
        "refused",
        "plug-ins compute attention outside of the compiled graph, so it has a break at each attention layer; compile "
        "without fullgraph=True while plug-ins are in",
        "test_compiled.py",
        ("test_fullgraph_is_refused_in_words_and_works_after_removal",),
    ),
    Row(
        "a callback that changes latents or interrupts",
        "-",
        "yes",
        "as in stock, bit for bit",
        "test_calls.py",
        ("test_a_callback_that_changes_the_latents", "test_a_callback_that_interrupts"),
    ),
    Row(
        "`latents=`",
        "-",
        "yes",
        "a plug-in on noise leaves them as they are, and the receipt says so",
        "test_calls.py",
        ("test_latents_of_the_users_own",),
    ),
    Row(
        "guidance 0 and 1, a list of generators, `num_videos_per_prompt`, batches of prompts",
        "-",
        "yes",
        "a batch of two is two singles, to rounding",
        "test_calls.py",
        (
            "test_one_branch_alone",
            "test_a_list_of_generators",
            "test_two_videos_of_one_prompt",
            "test_a_batch_of_two_is_two_singles",
        ),
    ),
    Row(
        "`vae.enable_tiling`, `enable_slicing`",
        "yes",
        "yes",
        "",
        "test_calls.py",
        ("test_tiles_and_slices_of_the_autoencoder",),
    ),
    Row(
        "two pipelines around one model, also in two threads",
        "yes",
        "yes",
        "each has its own plug-ins",
        "test_parts_and_copies.py",
        (
            "test_another_pipeline_around_the_model_computes_as_stock",
            "test_two_threads_with_a_pipeline_each_around_one_model",
        ),
    ),
    Row(
        "`copy.deepcopy`, `pickle`, `save_pretrained`",
        "-",
        "yes",
        "a copy or a saved pipeline is a stock one, without plug-ins",
        "test_parts_and_copies.py",
        ("test_a_copy_is_a_stock_pipeline", "test_what_is_saved_inside_is_what_is_saved_outside"),
    ),
    Row(
        "another scheduler or autoencoder",
        "yes",
        "yes",
        "refused where a plug-in decodes: the pipeline decoded its latents without it",
        "test_parts_and_copies.py",
        (
            "test_a_scheduler_replaced_inside_is_the_one_that_runs",
            "test_an_autoencoder_replaced_inside_is_an_error_where_a_plug_in_decodes",
        ),
    ),
    Row(
        "another transformer",
        "yes",
        "refused",
        REPLACED,
        "test_parts_and_copies.py",
        ("test_a_replaced_model_is_an_error_and_back_again_is_none",),
    ),
    Row(
        "attention processors of the user's own",
        "yes",
        "yes",
        "",
        "test_processors.py",
        ("test_a_processor_set_inside_acts_as_one_set_before",),
    ),
    Row(
        "a processor that never calls `scaled_dot_product_attention`",
        "refused",
        "refused",
        "transformer.blocks.1.attn1 never called scaled_dot_product_attention, so no rule could act there",
        "test_processors.py",
        ("test_a_processor_without_attention_is_an_error_and_no_video",),
    ),
    Row(
        "`set_attention_backend`, `reset_attention_backend`",
        "yes",
        "yes",
        "used for dense calls; see below for the reset",
        "test_processors.py",
        (
            "test_a_backend_is_used_for_dense_calls_wherever_it_was_set",
            "test_a_reset_leaves_diffusers_default_at_the_last_choice_with_or_without_plug_ins",
        ),
    ),
    Row(
        "a handle that was dropped",
        "-",
        "yes",
        "the plug-ins stay in until `genkit.remove(pipe)`",
        "test_leaving.py",
        ("test_plug_ins_of_a_dropped_handle_stay_in_until_they_are_removed_by_the_pipeline",),
    ),
    Row(
        "`remove()` while the pipeline is called",
        "-",
        "refused",
        "in a callback: the plug-ins were removed while the video was being made, so it was dropped; make it again. By "
        "another thread: this pipeline is already making a video",
        "test_leaving.py",
        (
            "test_removal_in_a_callback_of_a_direct_call_ends_the_call",
            "test_removal_by_another_thread_waits_for_the_call_to_end",
        ),
    ),
    Row(
        "`apply` inside a pipeline's own `__call__`",
        "-",
        "yes",
        "",
        "test_leaving.py",
        ("test_a_pipeline_that_applies_in_its_own_call_is_left_at_its_end_however_it_ends",),
    ),
)


def table() -> str:
    """Return the table of the page."""
    head = ["| what users do | before `apply` | inside | remark, or the sentence of the refusal | shown by |"]
    cells = [f"| {row.what} | {row.before} | {row.inside} | {row.remark} | {row.file} |" for row in ROWS]
    return "\n".join([*head, "|---|---|---|---|---|", *cells])


def names_in(folder: Path) -> set[tuple[str, str]]:
    """Return file and name of every test beside this one."""
    files = [file for file in folder.glob("test_*.py") if file.name != Path(__file__).name]
    return {
        (file.name, item.name)
        for file in files
        for item in ast.parse(file.read_text("utf-8")).body
        if isinstance(item, ast.FunctionDef) and item.name.startswith("test_")
    }


def test_the_page_has_the_table() -> None:
    assert f"{BEGIN}\n{table()}\n{END}" in PAGE.read_text("utf-8"), "run: make workflows"


def test_every_row_has_its_tests_and_every_test_its_row() -> None:
    assert {(row.file, name) for row in ROWS for name in row.tests} == names_in(Path(__file__).parent)


if __name__ == "__main__":
    head, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}", "utf-8")
