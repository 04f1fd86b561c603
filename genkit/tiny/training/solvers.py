"""How weights learn: two optimizers, the rate over time, averaged weights."""

import torch
from torch import nn

SHARES = (1.0, 0.25, 5.0)
"""Rates of the three optimizers relative to the peak rate: matrices, everything else, relative positions."""
BLOCKS = (".blocks.", ".block.", "_blocks.", "mid_block.")
"""Parts of names by which the matrices inside blocks are recognised."""


def optimizers(trainer: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices inside the blocks, AdamW for everything else.

    The text encoder's relative positions are logits and must reach several units, so they learn five times as fast.
    """
    named = {name: p for name, p in trainer.named_parameters() if p.requires_grad}
    places = [name for name in named if "relative_attention_bias" in name]
    matrices = [n for n, p in named.items() if n not in places and p.ndim == 2 and any(part in n for part in BLOCKS)]
    others = [name for name in named if name not in matrices and name not in places]
    found: list[torch.optim.Optimizer] = []
    for names, share in zip((matrices, others, places), SHARES, strict=True):
        groups = [{"params": [named[name] for name in names], "lr": share * rate, "share": share}]
        if names is matrices and names:
            found.append(torch.optim.Muon(groups, weight_decay=0.01, adjust_lr_fn="match_rms_adamw", ns_steps=4))
        elif names:
            found.append(torch.optim.AdamW(groups, weight_decay=0.0, betas=(0.9, 0.98)))
    return found


def set_rate(solvers: list[torch.optim.Optimizer], rate: float) -> None:
    """Give every optimizer its share of a rate."""
    for group in (group for solver in solvers for group in solver.param_groups):
        group["lr"] = group["share"] * rate


def rate_at(step: int, done: float, warmup: int, cooldown: float) -> float:
    """Return the share of the peak rate: up in ``warmup`` steps, flat, down in the last ``cooldown`` of the run.

    ``done`` is the share of the run that is over, in [0, 1].
    """
    return min(1.0, (step + 1) / warmup, max(0.0, 1 - done) / cooldown if cooldown else 1.0)


@torch.no_grad()
def blend(average: nn.Module, trainer: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the trained ones."""
    torch._foreach_lerp_(list(average.parameters()), list(trainer.parameters()), 1 - decay)
