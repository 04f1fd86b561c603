"""Which keys a query reads, token by token: the plan's blocks, the visible frames, and the keys that exist."""

from dataclasses import dataclass

from torch import Tensor

from genkit.attention.plan import BlockPlan, pairs_in_blocks, with_text


@dataclass(frozen=True, eq=False)
class Seen:
    """Everything that decides whether a query reads a key, on the device of the queries."""

    plan: BlockPlan
    frames_q: Tensor | None
    """int64 ``[Nq]``, latent frame of each query, -1 for text; given with ``visible``."""
    frames_k: Tensor | None
    """int64 ``[Nk]``, the same for keys."""
    visible: Tensor | None
    """bool ``[query frames, key frames]``; None is all."""
    valid: Tensor | None
    """bool ``[B or 1, Nk]``; False keys are padding; None is all."""

    @property
    def by_blocks(self) -> bool:
        """Whether the plan alone decides."""
        return self.visible is None and self.valid is None

    @property
    def all(self) -> bool:
        """Whether every query reads every key."""
        return self.by_blocks and self.plan.keeps_all

    def rows(self, rows: Tensor) -> Tensor:
        """What the queries ``rows`` [R] read, bool ``[B or 1, H or 1, R, Nk]``."""
        blocks = self.plan.keep[:, :, rows // self.plan.block]
        seen = blocks.repeat_interleave(self.plan.block, dim=-1)[..., : self.plan.keys]
        if self.visible is not None and self.frames_q is not None and self.frames_k is not None:
            seen = seen & with_text(self.visible)[self.frames_q[rows] + 1][:, self.frames_k + 1]
        return seen if self.valid is None else seen & self.valid[:, None, None]

    def blocks(self) -> tuple[Tensor, Tensor]:
        """Blocks of which some pairs are read, and blocks of which all are; bool ``[B or 1, H or 1, Qb, Kb]``."""
        pairs = pairs_in_blocks(
            self.plan, frames_q=self.frames_q, frames_k=self.frames_k, visible=self.visible, valid=self.valid
        )
        whole = pairs == self.plan.sizes
        return self.plan.keep & (pairs > 0) & ~whole, self.plan.keep & whole
