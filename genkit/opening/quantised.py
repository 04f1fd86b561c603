"""Weights quantised while a model is opened, through diffusers' own quantisers."""

from collections.abc import Mapping
from typing import Any

from genkit.checks.values import quote
from genkit.errors import UsageError, nearest
from genkit.opening.stored import DENOISERS
from genkit_video import install_extra

METHODS = {"int8": "Int8WeightOnlyConfig", "float8": "Float8WeightOnlyConfig"}
"""Names of the weights' type, each with torchao's configuration; both were tried on a CPU."""


def check_quantize(quantize: Any) -> None:
    """Raise ``UsageError`` unless ``quantize`` is None or known, and torchao is installed."""
    if quantize is None:
        return
    if quantize not in METHODS:
        raise UsageError(f"quantize={quote(quantize)} is unknown; {nearest(str(quantize), METHODS)}")
    from diffusers.utils import is_torchao_available

    if not is_torchao_available():
        raise UsageError(f"quantize={quantize!r} needs torchao; {install_extra('quantize')}")


def quantisation(quantize: str | None, index: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the argument of ``from_pretrained`` that quantises the denoising models; empty for none.

    Args:
        quantize: a name in ``METHODS``, or None.
        index: ``model_index.json`` of the pipeline.
        given: parts that were opened from files, which must not be the only ones.

    Raises:
        UsageError: the only denoising model is from a file.
    """
    if quantize is None:
        return {}
    import torchao.quantization
    from diffusers import PipelineQuantizationConfig, TorchAoConfig

    parts = [name for name in DENOISERS if name in index and name not in given]
    if not parts:
        raise UsageError(
            f"quantize={quantize!r} acts while a pipeline's own weights are read, and these are from a file; "
            "leave quantize out, or give a folder with the whole pipeline as the model"
        )
    kind = getattr(torchao.quantization, METHODS[quantize])
    return {"quantization_config": PipelineQuantizationConfig(quant_mapping={n: TorchAoConfig(kind()) for n in parts})}
