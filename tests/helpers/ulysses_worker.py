"""One of several processes of ``test_context_parallel``: videos alone, and the same with the heads shared by all."""

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import diffusers
import families
import numpy as np
import torch
import torch.distributed as dist
from diffusers import ContextParallelConfig
from sparse_settings import SPARSE, short_native, text

import genkit
from genkit.errors import UsageError
from genkit.plugins import catalogue

DENSER = ",density=0.7,block=8"
"""At which some heads of AdaSpa keep enough to give some of their density to others."""
PLUGINS = {name: text(SPARSE, name) for name in SPARSE} | {
    "adaspa, several heads give": f"adaspa:min_tokens=1,dense_steps=0,dense_layers=0{DENSER}",
    "adaspa, recall": text(SPARSE, "adaspa") + ",recall=0.7",
    "sparge, recall": text(SPARSE, "sparge") + ",recall=0.7",
    "threshold, morton": text(SPARSE, "threshold") + ",order=morton",
    "freenoise": "freenoise",
    "freelong": "freelong",
    "timeline": "timeline",
    "pab": "pab:spatial_attention_timestep_skip_range=-1x1001",
    "taylor-seer": "taylor-seer:cache_interval=2,disable_cache_before_step=1",
}
REFUSED = {
    "first-block-cache": "first-block-cache",
    "mag-cache": "mag-cache:mag_ratios=1x1.02,threshold=9",
}


def main(folder: Path, rank: int, world: int, names: list[str]) -> None:
    """Write what was seen of some plug-ins to ``<rank>.json``."""
    torch.set_num_threads(1)
    meeting, patience = f"file://{folder / 'meeting'}", timedelta(seconds=120)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world, timeout=patience)
    pipe = four_heads()
    with patch("genkit.generation.context.card_of", short_native):
        dense, alone = video(pipe), {name: made(pipe, PLUGINS[name]) for name in names}
        # A CPU counts as no accelerator at all, and diffusers divides by their number.
        with (
            patch("torch.accelerator.device_count", return_value=1),
            patch("torch._C._get_accelerator", lambda: torch.device("cpu")),
        ):
            pipe.transformer.enable_parallelism(config=ContextParallelConfig(ulysses_degree=world))
        together = {name: made(pipe, PLUGINS[name]) for name in names}
        told = {"refused": {name: refusal(pipe, plugin) for name, plugin in REFUSED.items()}}
    told["plugins"] = {
        name: {
            "largest_difference": float(np.abs(together[name]["video"] - alone[name]["video"]).max()),
            "difference_from_dense": float(np.abs(alone[name]["video"] - dense).max()),
            **{field: together[name][field] for field in ("tokens", "densities", "refusals", "heads")},
        }
        for name in alone
    }
    (folder / f"{rank}.json").write_text(json.dumps(told))
    dist.barrier()
    dist.destroy_process_group()


def four_heads() -> Any:
    """Wan with four narrow heads, so that up to four processes can share them."""
    pipe: Any = families.FAMILIES["wan"]()
    config = dict(pipe.transformer.config) | {"num_attention_heads": 4, "attention_head_dim": 16}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipe.transformer = diffusers.WanTransformer3DModel.from_config(config).eval()
    return pipe


def video(pipe: Any, **changes: Any) -> Any:
    """The frames of a run."""
    arguments = families.call_arguments("wan", num_inference_steps=4, **changes)
    return np.asarray(pipe(**arguments).frames, dtype=np.float64)


def made(pipe: Any, plugin: str) -> dict[str, Any]:
    """The frames of a run with a plug-in, and what its self-attention saw."""
    shapes: set[tuple[int, int]] = set()
    with genkit.apply(pipe, catalogue.parse(plugin)) as handle:
        inner = handle.session.attends["self"]

        def watched(q: Any, k: Any, v: Any, call: Any) -> Any:
            shapes.add((q.shape[1], q.shape[2]))
            return inner(q, k, v, call)

        handle.session.attends["self"] = watched
        handle.begin_run(fps=16)
        frames, run = video(pipe, prompt="a red circle | a blue square"), handle.session.run
    densities = [float(density) for found in run.densities.values() for density in found]
    ((heads, tokens),) = shapes
    seen = {"heads": heads, "tokens": tokens, "densities": densities, "refusals": [str(key) for key in run.refusals]}
    return seen | {"video": frames}


def refusal(pipe: Any, plugin: str) -> str:
    """The sentence with which a plug-in is refused."""
    try:
        with genkit.apply(pipe, catalogue.parse(plugin)):
            return "it was not refused"
    except UsageError as error:
        return str(error)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
