"""Data that ships with voxbeam: weights with their cards, calibrations, phone sets, demo speech, licenses. No code but paths."""

from pathlib import Path

_HERE = Path(__file__).parent
WEIGHTS = _HERE / "weights"
SEGMENTATION_WEIGHTS = WEIGHTS / "segmentation_3.safetensors"
IDENTITY = _HERE / "identity"
"""calibrations of embedded speaker encoders, by the number of values of an embedding"""
PHONES = _HERE / "phones"
DEMO = _HERE / "demo"
GPU_RATES = _HERE / "gpu_rates.json"
"""measured rates of one GPU; missing until somebody has measured one"""
LICENSES = _HERE / "licenses.toml"
