"""DNSMOS P.835: predicted quality of speech (Reddy et al., arXiv 2110.01763), with the model file of the package `speechmos`.

The class of the package also loads a second model (P.808) and lets onnxruntime use every core, so results would depend on the
machine. The model file is therefore run directly, with the windows and polynomials of the package.
"""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from voxbeam.models.pinned import DNSMOS_SHA256, require_pinned
from voxbeam.schemas.errors import ModelError
from voxbeam.schemas.formats import ASR_RATE

WINDOW = 144_160
"""input samples of the model (9.01 s)"""

# from raw outputs to MOS: a·x² + b·x + c, as in the package (not its personalized model)
_SIG = (-0.08397278, 1.22083953, 0.0052439)
_BAK = (-0.13166888, 1.60915514, -0.39604546)
_OVRL = (-0.06766283, 1.11546468, 0.04602535)


@dataclass(frozen=True, kw_only=True)
class Mos:
    """Mean opinion scores of P.835, about 1 (bad) to 5 (excellent)."""

    ovrl: float
    """overall quality"""
    sig: float
    """quality of the speech signal"""
    bak: float
    """absence of background noise"""
    windows: int = 1
    """that it is the mean of"""


def model_path() -> Path:
    """The model file in the package `speechmos`. Raises ModelError without the package."""
    spec = find_spec("speechmos")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("package speechmos is not installed; install voxbeam[embedded], which brings the DNSMOS model")
    return Path(spec.submodule_search_locations[0]) / "dnsmos_models" / "sig_bak_ovr.onnx"


def open_model(device: str) -> onnxruntime.InferenceSession:
    """The model on 'cpu' (one thread) or 'cuda'. Raises ModelError when onnxruntime cannot use the device, or the package
    has another file than the published one."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    # otherwise onnxruntime falls back to the CPU with only a log line, and slightly different results
    if provider not in onnxruntime.get_available_providers():
        raise ModelError(f"onnxruntime lacks {provider}; install onnxruntime-gpu, or set `device: cpu`")
    content = model_path().read_bytes()
    require_pinned(hashlib.sha256(content).hexdigest(), DNSMOS_SHA256, "the weights of DNSMOS")
    return onnxruntime.InferenceSession(content, sess_options=options, providers=[provider])


def windows(waveform_T: NDArray[np.float32], every: int = 1) -> NDArray[np.float32]:
    """Every n-th window [N, 144160] of a waveform [T] at 16 kHz, as in the package: windows are one second apart.

    A clip shorter than a window is repeated. Raises ValueError for an empty waveform.
    """
    if not len(waveform_T):
        raise ValueError("DNSMOS cannot score an empty waveform")
    while len(waveform_T) < WINDOW:
        waveform_T = np.concatenate([waveform_T, waveform_T])
    # whole seconds − 9.01, plus one, as in the package, even if one more window would fit
    count = max(int(len(waveform_T) // ASR_RATE - WINDOW / ASR_RATE) + 1, 1)
    starts = [i * ASR_RATE for i in range(0, count, every) if i * ASR_RATE + WINDOW <= len(waveform_T)]
    return np.stack([waveform_T[start : start + WINDOW] for start in starts])


def dnsmos(
    session: onnxruntime.InferenceSession,
    waveform_T: NDArray[np.float32],
    every: int = 1,
    near: tuple[float, float] | None = None,
) -> Mos:
    """Scores of a waveform [T] at 16 kHz in [−1, 1]: the mean over every n-th window.

    With `near`, the window in the middle is scored first, and the others only if its overall quality lies between these two: far
    from where it is asked whether a sound is good enough, one window says so too.

    Windows are run one by one: on a CPU batches are not faster, and results would depend on the batch.
    """
    chosen = windows(waveform_T, every)
    order = sorted(range(len(chosen)), key=lambda i: i != len(chosen) // 2)
    raw = [_run(session, chosen[order[0]])]
    if near is None or near[0] <= np.polyval(_OVRL, raw[0][2]) <= near[1]:
        raw += [_run(session, chosen[i]) for i in order[1:]]
    raw_N3 = np.array(raw)
    sig, bak, ovrl = (float(np.mean(np.polyval(poly, raw_N3[:, column]))) for column, poly in enumerate((_SIG, _BAK, _OVRL)))
    return Mos(ovrl=ovrl, sig=sig, bak=bak, windows=len(raw))


def _run(session: onnxruntime.InferenceSession, window_T: NDArray[np.float32]) -> NDArray[np.float32]:
    """Raw outputs [3] of one window."""
    return np.asarray(session.run(None, {"input_1": window_T[None]})[0][0], np.float32)
