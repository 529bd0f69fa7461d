"""The voice that ships: its file, and how it is packed in 8 bits a value."""

from pathlib import Path

import pytest
import torch

from voxbeam.assets import VOICE_WEIGHTS
from voxbeam.models.batch import TokenizedUtterance, collate
from voxbeam.models.checkpoint import Checkpoint
from voxbeam.models.codec import EMBEDDED_WEIGHTS, load_codec
from voxbeam.models.eight_bits import dequantize, quantize
from voxbeam.models.embedded_voice import pack_voice, read_voice
from voxbeam.models.load_valle import load_models
from voxbeam.models.phones import load_phone_set
from voxbeam.models.transformer import TransformerConfig
from voxbeam.models.valle import ModelConfig, NARModel
from voxbeam.schemas.errors import CheckpointError
from voxbeam.storage.safetensors_io import unpack


def checkpoint(name: str) -> Checkpoint:
    generator = torch.Generator().manual_seed(len(name))
    tensors = {
        f"{name}/average/matrix": torch.randn(5, 7, generator=generator) * 10.0 ** torch.arange(-3, 2)[:, None],
        f"{name}/average/cube": torch.randn(2, 3, 4, generator=generator),
        f"{name}/average/vector": torch.randn(6, generator=generator),
        f"{name}/weight/matrix": torch.randn(5, 7, generator=generator),
    }
    return Checkpoint(tensors, {"step": 3, "model": {"n_phones": 9}})


def test_a_voice_comes_back_within_half_a_step_of_each_row(tmp_path: Path) -> None:
    saved = {name: checkpoint(name) for name in ("ar", "nar")}
    file = tmp_path / "voice.safetensors"
    file.write_bytes(pack_voice(saved))
    read = read_voice(file)
    for name, before in saved.items():
        assert read[name].facts == before.facts
        assert set(read[name].tensors) == {key for key in before.tensors if "/average/" in key}
        for key, after in read[name].tensors.items():
            value = before.tensors[key]
            assert after.dtype == torch.float32 and after.shape == value.shape
            most = value.abs().amax(-1, keepdim=True) / 254 if value.ndim > 1 else value.abs() * 2**-11
            assert ((after - value).abs() <= most * 1.001 + 1e-12).all()


def test_the_modulations_of_all_levels_come_back(tmp_path: Path) -> None:
    """Of a real NAR model: the loss of every level is about that of before."""
    torch.manual_seed(0)
    config = ModelConfig(
        n_phones=9, codebook_size=32, transformer=TransformerConfig(n_layers=2, n_heads=2, d_model=32, d_ff=64, dropout=0.0)
    )
    model = NARModel(config).eval()
    for name, parameter in model.named_parameters():
        if "modulation" in name:  # as large as after training
            torch.nn.init.normal_(parameter, std=0.2)
    saved = {"nar": Checkpoint({f"nar/average/{name}": p.detach() for name, p in model.named_parameters()}, {"step": 1})}
    file = tmp_path / "voice.safetensors"
    file.write_bytes(pack_voice(saved))
    stored, _ = unpack(file.read_bytes(), "voice")
    assert not any(key.endswith("modulation.weight") for key in stored)
    again = NARModel(config).eval()
    again.load_state_dict({key.removeprefix("nar/average/"): value for key, value in read_voice(file)["nar"].tensors.items()})
    codes = torch.randint(0, 32, (1, 8, 20)).to(torch.int16).numpy()
    batch = collate([TokenizedUtterance(key="a", phones_L=torch.arange(1, 8).numpy(), codes_KT=codes[0], prompt_frames=5)])
    for level in range(1, 8):
        before, after = (one(batch, torch.tensor([level]), torch.tensor([5])).loss.item() for one in (model, again))
        assert after == pytest.approx(before, rel=2e-3)


def test_a_row_of_zeros_stays_zero() -> None:
    assert (dequantize(*quantize(torch.zeros(2, 4))) == 0).all()


@pytest.mark.parametrize("content", [b"", b"no safetensors", None])
def test_another_file_is_no_voice(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "voice.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CheckpointError, match="is not a voice"):
        read_voice(file)


def test_the_voice_that_ships_fits_the_codec_and_the_phones_that_ship() -> None:
    assert VOICE_WEIGHTS.stat().st_size < 24_000_000
    ar, nar, config = load_models("embedded", codec=load_codec(EMBEDDED_WEIGHTS))
    assert config.n_phones == len(load_phone_set("en-us").phones)
    assert sum(p.numel() for model in (ar, nar) for p in model.parameters()) > 20_000_000
    assert all(p.isfinite().all() for model in (ar, nar) for p in model.parameters())


def test_the_voice_that_ships_knows_its_codec() -> None:
    codec = load_codec(EMBEDDED_WEIGHTS)
    codec.sha256 = "0" * 64
    with pytest.raises(CheckpointError, match="codec"):
        load_models("embedded", codec=codec)
