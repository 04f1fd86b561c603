"""Third-party dense attention: the baselines of every speed ratio."""

import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.operators.block_sparse import flex
from genkit.benchmarks.timing.machine import Timing, free_bytes, measure

Dense = Callable[[Tensor, Tensor, Tensor], Tensor]
SDPA = {
    "sdpa flash": "FLASH_ATTENTION",
    "sdpa efficient": "EFFICIENT_ATTENTION",
    "sdpa cudnn": "CUDNN_ATTENTION",
    "sdpa math": "MATH",
}
LOGIT_BYTES = 8
"""Memory of ``sdpa math`` per query-key pair: logits and weights in float32."""


class UnavailableError(Exception):
    """A baseline cannot run here; the text is the reason."""


def baselines() -> dict[str, Dense]:
    """Return every dense attention by name, ``sdpa`` first; each maps ``[B, H, N, D]`` tensors to the same shape."""
    chosen: dict[str, Dense] = {name: partial(_sdpa, backend) for name, backend in SDPA.items()}
    return {
        "sdpa": F.scaled_dot_product_attention,
        **chosen,
        "flex": _flex,
        "xformers": _xformers,
        "flash-attn 2": partial(_flash, "flash_attn"),
        "flash-attn 3": partial(_flash, "flash_attn_interface"),
    }


def attempt(work: Callable[[], object], device: torch.device, repeats: int) -> Timing | str:
    """Return the time of ``work``, or in one sentence the reason it cannot run."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            return measure(work, device, repeats)
        except UnavailableError as error:
            return str(error)
        except Exception as error:  # third-party packages, drivers and compilers may raise anything
            return reason_of(error, [str(entry.message) for entry in caught])


def reason_of(error: Exception, warned: Sequence[str] = ()) -> str:
    """Return the first line of an error and PyTorch's warnings before it, which contain the actual reason.

    GPU memory left over from the failure is released.
    """
    if isinstance(error, torch.OutOfMemoryError):
        torch.cuda.empty_cache()
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    causes = dict.fromkeys(text.splitlines()[0].partition(" (Triggered")[0] for text in warned)
    return " ".join([first, *causes])[:400]


def _sdpa(backend: str, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if backend == "MATH":
        _check_memory(q, k)
    with sdpa_kernel([getattr(SDPBackend, backend)]):
        return F.scaled_dot_product_attention(q, k, v)


def _check_memory(q: Tensor, k: Tensor) -> None:
    """Raise if all logits at once exceed the free memory: Linux would kill the process without an error."""
    needed, free = q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2] * LOGIT_BYTES, free_bytes(q.device)
    if needed > free:
        raise UnavailableError(f"it stores all logits: {needed / 2**30:.0f} GiB; only {free / 2**30:.0f} GiB are free")


def _flex(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    one = BlockPlan(torch.ones(1, 1, 1, 1, dtype=torch.bool), q.shape[2], q.shape[2], q.shape[2])
    if q.device.type == "cpu" and (reason := flex.refusal(q, one, False)):
        raise UnavailableError(reason)
    return _compiled_flex()(q, k, v)


@cache
def _compiled_flex() -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


def _xformers(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    try:
        from xformers.ops import memory_efficient_attention
    except ImportError as error:
        raise UnavailableError("xformers is not installed") from error
    return _tokens_first(memory_efficient_attention, q, k, v)


def _flash(package: str, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    try:
        module = __import__(package)
    except ImportError as error:
        raise UnavailableError(f"the package {package} is not installed") from error
    return _tokens_first(module.flash_attn_func, q, k, v)


def _tokens_first(attend: Callable[..., Any], q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Run an attention whose tensors are ``[B, N, H, D]``; some return a tuple with the result first."""
    out = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    found: Tensor = out[0] if isinstance(out, tuple) else out
    return found.transpose(1, 2)
