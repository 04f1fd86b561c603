"""The embedded model of a measurement, and the facts that its rows name."""

from typing import Any

from genkit.benchmarks.evaluate.ledger import Row
from genkit.benchmarks.networks.weight_files import sha256_of
from genkit.benchmarks.timing.machine import facts, heading


def open_embedded(seed: int) -> tuple[Any, Row]:
    """Open the embedded model, print the heading of a measurement, and return both the pipeline and its facts."""
    import genkit
    from genkit.tiny import TINY_WEIGHTS

    pipe = genkit.load("tiny")
    dtype = pipe.transformer.dtype
    weights = sha256_of(TINY_WEIGHTS / "transformer" / "diffusion_pytorch_model.safetensors")
    about = {**facts(pipe.transformer.device), "dtype": str(dtype).removeprefix("torch."), "weights": weights}
    print(f"{heading(about, dtype, seed)}, weights {weights[:12]}")
    return pipe, about
