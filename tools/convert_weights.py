"""Makes the embedded diarizer weights from the packages that the model cards in `assets/weights/` name.

Run once, in a throw-away environment with torch, safetensors and omegaconf (whose classes the checkpoint holds):

    pip download --no-deps whisperx==3.8.6 Resemblyzer==0.1.4
    unzip whisperx-3.8.6-*.whl whisperx/assets/pytorch_model.bin
    unzip Resemblyzer-0.1.4-*.whl resemblyzer/pretrained.pt
    python -m tools.convert_weights segmentation whisperx/assets/pytorch_model.bin segmentation_pyannet.safetensors
    python -m tools.convert_weights speaker resemblyzer/pretrained.pt speaker_ge2e.safetensors

Unpickling runs code. That is why it is done here, once, on files whose hash is checked first, and never in the product.
"""

import argparse
import hashlib
from pathlib import Path

import torch
from safetensors.torch import save_file

ORIGINAL_SHA256 = {
    "segmentation": "0b5b3216d60a2d32fc086b47ea8c67589aaeb26b7e07fcbe620d6d0b83e209ea",
    "speaker": "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
}


def convert(kind: str, original: Path, converted: Path) -> str:
    """Writes the weights as safetensors and returns their sha256. Raises ValueError for any but the known file."""
    found = hashlib.sha256(original.read_bytes()).hexdigest()
    if found != ORIGINAL_SHA256[kind]:
        raise ValueError(f"{original} has sha256 {found}, expected {ORIGINAL_SHA256[kind]}")
    checkpoint = torch.load(original, map_location="cpu", weights_only=False)
    if kind == "segmentation":
        # the loss of the training task has weights of its own, which inference never uses
        tensors = {name: t for name, t in checkpoint["state_dict"].items() if not name.startswith("loss_func")}
    else:
        # similarity_weight and similarity_bias belong to the GE2E loss
        tensors = {name: t for name, t in checkpoint["model_state"].items() if not name.startswith("similarity")}
    save_file({name: t.detach().float().contiguous().clone() for name, t in sorted(tensors.items())}, converted)
    return hashlib.sha256(converted.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=sorted(ORIGINAL_SHA256))
    parser.add_argument("original", type=Path)
    parser.add_argument("converted", type=Path)
    args = parser.parse_args()
    print(convert(args.kind, args.original, args.converted))


if __name__ == "__main__":
    main()
