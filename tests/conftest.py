"""What every test shares: kernels run in Triton's interpreter where there is no GPU."""

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin slow one another down where processors are few

import pytest  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

if not torch.cuda.is_available():
    # Triton reads this when a kernel is decorated, so it is set before anything of ours is imported.
    os.environ.setdefault("TRITON_INTERPRET", "1")

if "PYTEST_XDIST_WORKER" in os.environ:
    # Every processor has a worker already; processes that tests start take the same number.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
elif "OMP_NUM_THREADS" not in os.environ:
    # The tensors of the tests are small: more threads only wait for one another.
    torch.set_num_threads(min(4, torch.get_num_threads()))


@pytest.fixture(autouse=True)
def poisoned_memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill new memory with NaN in the tests of operators, so that what a kernel does not write is seen."""
    if request.path.parent.name == "operators":
        for owner, name in ((torch, "empty"), (torch, "empty_like"), (Tensor, "new_empty")):
            monkeypatch.setattr(owner, name, _poisoned(getattr(owner, name)))


def _poisoned(real: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def make(*args: Any, **kwargs: Any) -> Tensor:
        made = real(*args, **kwargs)
        return made.fill_(float("nan")) if made.is_floating_point() else made

    return make
