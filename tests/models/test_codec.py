"""The codec's file forms and laws; on a small random model, because none of them depends on training."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save

from voxbeam.models.codec import EMBEDDED_WEIGHTS, Codec, codec_layers, export_codec, load_codec
from voxbeam.models.codec_model import CodecConfig, build_codec, fold_weight_norm
from voxbeam.models.vocos_layers import WINDOW, overlap_add, stft_frames
from voxbeam.schemas.errors import ModelError
from voxbeam.schemas.formats import CODEC_HOP
from voxbeam.trainer.codec.losses import mel_distance

from tests.audio_fixtures import SAMPLE

SEANET = CodecConfig(n_filters=2, lstm_layers=1, dimension=16, codebook_size=64)
FRAME = CodecConfig(
    layers="frame",
    encoder_width=24,
    encoder_blocks=2,
    decoder_width=24,
    decoder_blocks=2,
    dimension=16,
    codebook_size=64,
)


def randomize_codebooks(model: Any, seed: int = 0) -> Any:
    """Codebooks in the range of the latents, so that codes vary with the sound."""
    torch.manual_seed(seed)
    latents = model.encoder(torch.randn(1, 1, 24_000) * 0.1).detach()
    for layer in model.quantizer.vq.layers:
        layer._codebook.embed.normal_(0, float(latents.std()))
    return model


def small_codec(config: CodecConfig) -> Codec:
    torch.manual_seed(0)
    return Codec(randomize_codebooks(build_codec(config)), sha256="")


CODEC = small_codec(SEANET)
FRAME_CODEC = small_codec(FRAME)
both = pytest.mark.parametrize("codec", [CODEC, FRAME_CODEC], ids=["seanet", "frame"])


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([CODEC, FRAME_CODEC]), st.integers(0, 5_000))
def test_a_frame_for_every_320_samples_begun(codec: Codec, samples: int) -> None:
    [codes] = codec.encode([noise(samples)])
    assert codes.shape == (8, math.ceil(samples / CODEC_HOP))
    assert codes.dtype == np.int16
    [wave] = codec.decode([codes])
    assert wave.shape == (codes.shape[1] * CODEC_HOP,)
    assert wave.dtype == np.float32


@both
def test_codes_do_not_depend_on_the_rest_of_the_list(codec: Codec) -> None:
    waves = [noise(length, seed) for seed, length in enumerate((4_000, 321, 0, 9_999))]
    together = codec.encode(waves)
    for wave, codes in zip(waves, together, strict=True):
        np.testing.assert_array_equal(codec.encode([wave])[0], codes)
    for codes, sound in zip(together, codec.decode(together), strict=True):
        np.testing.assert_array_equal(codec.decode([codes])[0], sound)


@both
@pytest.mark.parametrize("samples", [0, 1, 30 * 24_000])
def test_any_length_goes_in_and_comes_out(codec: Codec, samples: int) -> None:
    [codes] = codec.encode([noise(samples)])
    [wave] = codec.decode([codes])
    assert codes.shape == (8, math.ceil(samples / CODEC_HOP))
    assert len(wave) == codes.shape[1] * CODEC_HOP
    assert np.isfinite(wave).all()


def test_padded_batches_change_at_most_the_frame_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    waves = [noise(length, seed) for seed, length in enumerate((9_600, 9_000, 3_200))]
    alone = CODEC.encode(waves)
    monkeypatch.setattr(CODEC, "_batches", lambda lengths, per_frame: [list(range(len(lengths)))])
    for wave, one, batched in zip(waves, alone, CODEC.encode(waves), strict=True):
        whole = len(wave) // CODEC_HOP
        assert np.mean(one[:, :whole] != batched[:, :whole]) < 0.01
    for one, batched in zip(CODEC.decode(alone), CODEC.decode(alone), strict=True):
        np.testing.assert_allclose(one, batched, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6_000), st.integers(0, 6_000))
def test_silence_after_speech_changes_no_latent_of_frame_layers(samples: int, silence: int) -> None:
    """So a zero-padded batch, as on a GPU, gives each waveform the codes that it has alone."""
    encoder = FRAME_CODEC.model.encoder
    wave = torch.from_numpy(noise(samples))[None, None]
    with torch.inference_mode():
        alone = encoder(wave)
        padded = encoder(torch.nn.functional.pad(wave, (0, silence)))
    torch.testing.assert_close(padded[..., : alone.shape[-1]], alone, rtol=1e-4, atol=1e-5)


def test_frame_layers_hear_only_so_far_ahead() -> None:
    """A prefix has the latents of the whole but for its last frames: three for each block, and two of a window."""
    wave = torch.from_numpy(noise(60 * CODEC_HOP))[None, None]
    context_frames = int(FRAME_CODEC.model.encoder.context_frames)
    with torch.inference_mode():
        whole, prefix = FRAME_CODEC.model.encoder(wave), FRAME_CODEC.model.encoder(wave[..., : 40 * CODEC_HOP])
    torch.testing.assert_close(prefix[..., : 40 - context_frames], whole[..., : 40 - context_frames], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(prefix[..., 39], whole[..., 39], atol=1e-3)


def test_silence_is_zero_in_every_frame_layer() -> None:
    with torch.inference_mode():
        assert not FRAME_CODEC.model.encoder(torch.zeros(1, 1, 3_200)).any()


def test_the_inverse_transform_undoes_the_transform() -> None:
    wave = torch.from_numpy(noise(20 * CODEC_HOP))[None]
    window = torch.hann_window(WINDOW)
    frames = torch.fft.irfft(stft_frames(wave, window, CODEC_HOP), WINDOW)
    torch.testing.assert_close(overlap_add(frames, window), wave, atol=1e-5, rtol=1e-4)


def test_a_file_of_the_published_name_must_be_the_published_file(tmp_path: Path) -> None:
    path = tmp_path / "encodec_24khz-d7cc33bc.th"
    torch.save(build_codec(SEANET).state_dict(), path)
    with pytest.raises(ModelError, match=r"not d7cc33bc.*fetch it again"):
        load_codec(path)


class Trap:
    """What a hostile pickle would carry: it calls a function when it is loaded."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("sprung"),)


def test_a_checkpoint_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Trap()}, tmp_path / "codec.th")
    with pytest.raises(ModelError, match="not a codec that can be read"):
        load_codec(tmp_path / "codec.th")
    assert not Path("sprung").exists()


@pytest.mark.parametrize("config", [SEANET, FRAME], ids=["seanet", "frame"])
def test_exported_weights_come_back(config: CodecConfig, tmp_path: Path) -> None:
    model = randomize_codebooks(build_codec(config))
    path = tmp_path / "codec.safetensors"
    digest = export_codec(model, config, path, {"steps": "7"})
    codec = load_codec(path, sha256=digest)
    assert codec.sha256 == digest
    again = build_codec(config)
    again.load_state_dict({name: value.half().float() for name, value in model.state_dict().items()})
    fold_weight_norm(again)
    wave = noise(5_000)
    codes = codec.encode([wave])[0]
    np.testing.assert_array_equal(codes, Codec(again, "").encode([wave])[0])
    np.testing.assert_array_equal(codes, load_codec(path).encode([wave])[0])
    assert export_codec(model, config, tmp_path / "again.safetensors", {"steps": "7"}) == digest


def test_a_file_from_before_there_were_frame_layers_still_loads(tmp_path: Path) -> None:
    model = randomize_codebooks(build_codec(SEANET))
    export_codec(model, SEANET, tmp_path / "new.safetensors", {})
    with safe_open(tmp_path / "new.safetensors", "pt") as file:
        about = json.loads(file.metadata()["codec"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name in ("layers", "encoder_width", "encoder_blocks", "decoder_width", "decoder_blocks"):
        del about["config"][name]
    (tmp_path / "old.safetensors").write_bytes(save(tensors, metadata={"codec": json.dumps(about)}))
    wave = noise(5_000)
    codecs = (load_codec(tmp_path / "old.safetensors"), load_codec(tmp_path / "new.safetensors"))
    np.testing.assert_array_equal(*(codec.encode([wave])[0] for codec in codecs))


@pytest.mark.parametrize("config", [SEANET, FRAME], ids=["seanet", "frame"])
def test_a_header_tells_the_layers(config: CodecConfig, tmp_path: Path) -> None:
    path = tmp_path / "codec.safetensors"
    export_codec(build_codec(config), config, path, {})
    assert codec_layers(path) == config.layers
    assert codec_layers(tmp_path / "published.th") == "seanet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match="not a codec that can be read"):
        codec_layers(path)


def test_refuses_another_file_and_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "codec.safetensors"
    export_codec(build_codec(SEANET), SEANET, path, {})
    with pytest.raises(ModelError, match="fetch it again, or configure the sha256"):
        load_codec(path, sha256="0" * 64)


@pytest.mark.parametrize("suffix", [".safetensors", ".th"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.9])
def test_refuses_a_truncated_file_and_says_what_to_do(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"codec{suffix}"
    if suffix == ".safetensors":
        export_codec(build_codec(SEANET), SEANET, path, {})
    else:
        torch.save(build_codec(SEANET).state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError, match="voxbeam codec export"):
        load_codec(path)


def test_refuses_weights_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "other.th"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(ModelError, match="not an EnCodec's"):
        load_codec(path)


@pytest.mark.parametrize(
    "wave", [np.zeros((2, 640), np.float32), np.zeros(640), np.full(640, np.nan, np.float32)], ids=["2d", "f64", "nan"]
)
def test_refuses_what_is_not_mono_float32(wave: np.ndarray) -> None:
    with pytest.raises(ValueError, match="mono 24 kHz"):
        CODEC.encode([wave])


@pytest.mark.parametrize("codes", [np.zeros(8, int), np.zeros((9, 4), int), np.full((8, 4), 64), np.full((8, 4), -1)])
def test_refuses_what_is_not_codes(codes: np.ndarray) -> None:
    with pytest.raises(ValueError, match="codes 0"):
        CODEC.decode([codes])


def test_a_codec_fixes_the_frame_rate() -> None:
    with pytest.raises(ValueError, match="75 Hz"):
        CodecConfig(ratios=(8, 5, 4, 4))
    with pytest.raises(ValueError, match="neither"):
        CodecConfig(layers="lstm")


@pytest.mark.skipif(not EMBEDDED_WEIGHTS.exists(), reason="the embedded weights are not in this checkout")
def test_embedded_weights_say_something_close_to_what_they_hear() -> None:
    audio, rate = sf.read(SAMPLE, dtype="float32", start=8 * 16_000, frames=5 * 16_000)
    wave = soxr.resample(audio, rate, 24_000)
    codec = load_codec(EMBEDDED_WEIGHTS)
    [codes] = codec.encode([wave])
    assert all(len(np.unique(book)) > 30 for book in codes)
    [sound] = codec.decode([codes])
    heard, said = (torch.from_numpy(each[: len(wave)])[None, None] for each in (wave, sound))
    assert mel_distance(heard, said) < 0.5 * mel_distance(heard, torch.zeros_like(heard))
