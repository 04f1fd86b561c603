"""What every test shares: kernels run in Triton's interpreter where there is no GPU."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin slow one another down where processors are few

import torch  # noqa: E402

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
