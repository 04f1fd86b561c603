"""Threads that compute independently, for many small pieces of work whose data should stay in one processor's cache.

PyTorch by itself spreads every operation over all threads, and each waits for the slowest; for small pieces that
waiting is a large part of the time.
"""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def each(work: Callable[[T], R], pieces: Iterable[T]) -> list[R]:
    """Run ``work`` on every piece, in order, on as many threads as PyTorch has and in the caller's gradient modes."""
    threads = torch.get_num_threads()
    if threads == 1 or "OpenMP" not in torch.__config__.parallel_info():
        return [work(piece) for piece in pieces]
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def under_modes(piece: T) -> R:
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
            return work(piece)

    return list(_pool(threads).map(under_modes, pieces))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return threads in which PyTorch computes with one thread; the caller's number does not change.

    With OpenMP the number belongs to the thread that sets it. It is also the initial number of threads that compute for
    the first time later, so it is restored at once.
    """
    pool, all_there = ThreadPoolExecutor(threads, "genkit", initializer=_alone), threading.Barrier(threads)
    list(pool.map(lambda _: all_there.wait(), range(threads)))
    torch.set_num_threads(threads)
    return pool


def _alone() -> None:
    torch.get_num_threads()  # from now on the initial number of other threads has no effect here
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
