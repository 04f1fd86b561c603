"""One of two processes of ``test_context_parallel``: a video alone, and the same with the heads shared by both."""

import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import families
import numpy as np
import torch
import torch.distributed as dist
from diffusers import ContextParallelConfig

import genkit
from genkit import SVG, Radial

PLUGINS = (
    Radial(density=0.5, min_tokens=0, dense_steps=0, dense_layers=0, block=16),
    SVG(density=0.4, min_tokens=0, dense_steps=0, dense_layers=0, block=16),
)


def main(folder: Path, rank: int) -> None:
    """Write what was seen to ``<rank>.json``."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    pipe = families.FAMILIES["wan"]()
    dense = video(pipe)
    alone = {plugin.name: sparse(pipe, plugin) for plugin in PLUGINS}
    # A CPU counts as no accelerator at all, and diffusers divides by their number.
    device = torch.device("cpu")
    with patch("torch.accelerator.device_count", return_value=1), patch("torch._C._get_accelerator", lambda: device):
        pipe.transformer.enable_parallelism(config=ContextParallelConfig(ulysses_degree=2))
    together = {plugin.name: sparse(pipe, plugin) for plugin in PLUGINS}
    told = {
        "heads": {"alone": alone["radial"]["heads"], "together": together["radial"]["heads"]},
        "plugins": {
            name: {
                "largest_difference": float(np.abs(together[name]["video"] - alone[name]["video"]).max()),
                "difference_from_dense": float(np.abs(alone[name]["video"] - dense).max()),
                **{field: together[name][field] for field in ("tokens", "all_tokens", "density", "sparse_calls")},
            }
            for name in alone
        },
    }
    (folder / f"{rank}.json").write_text(json.dumps(told))
    dist.barrier()
    dist.destroy_process_group()


def video(pipe: Any) -> Any:
    """The frames of a run."""
    return np.asarray(pipe(**families.call_arguments("wan")).frames, dtype=np.float64)


def sparse(pipe: Any, plugin: Any) -> dict[str, Any]:
    """The frames of a run with a plug-in, and what its self-attention saw."""
    shapes: list[tuple[int, int, int]] = []
    with genkit.apply(pipe, plugin) as handle:
        inner = handle.session.attends["self"]

        def watched(q: Any, k: Any, v: Any, call: Any) -> Any:
            shapes.append((q.shape[1], q.shape[2], call.grid.tokens))
            return inner(q, k, v, call)

        handle.session.attends["self"] = watched
        frames, densities = video(pipe), handle.session.run.densities[plugin.name]
    assert len(set(shapes)) == 1
    heads, tokens, all_tokens = shapes[0]
    seen = {"heads": heads, "tokens": tokens, "all_tokens": all_tokens, "video": frames}
    return seen | {"density": float(torch.stack(list(densities)).mean()), "sparse_calls": len(densities)}


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
