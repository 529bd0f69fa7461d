"""SEANet layers of the published EnCodec 24 kHz model, from the PyPI package `encodec`.

This is the only module that imports the package, and only when a codec has SEANet layers: release 0.1.1 is under CC BY-NC 4.0,
which excludes commercial use, so it is the optional extra `voxbeam[encodec]`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from torch import nn

from voxbeam.schemas.errors import ModelError

MISSING = (
    "this codec has SEANet layers, which come from the PyPI package encodec; install voxbeam[encodec] "
    "(encodec 0.1.1 is licensed under CC BY-NC 4.0: no commercial use), or use the embedded codec, which does not need it"
)


def seanet_layers(
    *, dimension: int, n_filters: int, n_residual_layers: int, lstm_layers: int, ratios: Sequence[int]
) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder, mono, causal and weight-normalized (EnCodec, sections 3.1 and 3.2).

    Raises ModelError without the package.
    """
    try:
        from encodec.modules import SEANetDecoder, SEANetEncoder
    except ImportError as error:
        raise ModelError(MISSING) from error
    sizes: dict[str, Any] = {
        "channels": 1,
        "dimension": dimension,
        "n_filters": n_filters,
        "n_residual_layers": n_residual_layers,
        "ratios": list(ratios),
        "lstm": lstm_layers,
        "norm": "weight_norm",
        "causal": True,
    }
    with warnings.catch_warnings():
        # The package uses the older of torch's two weight norms, whose parameter names the published file has.
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*weight_norm.*")
        return SEANetEncoder(**sizes), SEANetDecoder(**sizes)


def encodec_version() -> str:
    """Version of the installed package. Raises ModelError without it."""
    try:
        return version("encodec")
    except PackageNotFoundError as error:
        raise ModelError(MISSING) from error
