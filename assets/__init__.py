"""Data that ships with voxbeam: weights with their cards, calibrations, phone sets, demo speech, licenses. No code but paths."""

from pathlib import Path

_HERE = Path(__file__).parent
WEIGHTS = _HERE / "weights"
SEGMENTATION_WEIGHTS = WEIGHTS / "segmentation_3.safetensors"
IDENTITY = _HERE / "identity"
"""calibrations of embedded speaker encoders, by the number of values of an embedding"""
VOICE_WEIGHTS = WEIGHTS / "voice.safetensors"
PHONES = _HERE / "phones"
DEMO = _HERE / "demo"
PROMPT = _HERE / "prompt" / "af_bella.flac"
"""three seconds of a voice that the embedded voice never heard: made by Kokoro-82M"""
PROMPT_TEXT = "The commission has concluded that both of these statements"
GPU_RATES = _HERE / "gpu_rates.json"
"""measured rates of one GPU; missing until somebody has measured one"""
LICENSES = _HERE / "licenses.toml"
