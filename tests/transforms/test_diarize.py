"""Diarize: speakers of real speech, silence and noise, determinism, no network."""

import itertools
import pickle
import socket
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from voxbeam.assets import SEGMENTATION_WEIGHTS
from voxbeam.models.ge2e import SPEAKER_WEIGHTS, load_ge2e
from voxbeam.schemas.config import DiarizeConfig
from voxbeam.schemas.errors import ModelError
from voxbeam.transforms.diarize import Diarize, diarize, load_diarizer

from tests import audio_fixtures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def diarizer():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")

        def no_network(*_, **__):
            raise OSError("the embedded diarizer must not reach for the network")

        patch.setattr(socket.socket, "connect", no_network)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield load_diarizer(DiarizeConfig())


def test_a_conversation_has_two_speakers_who_overlap(diarizer):
    turns, found = diarize(diarizer, audio_fixtures.sample(), 5_000)
    assert [s.label for s in found] == ["v1", "v2"]
    spoken = {label: sum(t.end_ms - t.start_ms for t in turns if t.speaker == label) for label in ("v1", "v2")}
    assert spoken["v1"] >= spoken["v2"] > 5_000
    assert all(5_000 <= t.start_ms < t.end_ms <= 35_000 for t in turns)
    assert any(a.speaker != b.speaker and a.end_ms > b.start_ms for a, b in itertools.pairwise(turns))
    for speaker in found:
        assert np.isclose(np.linalg.norm(speaker.embedding), 1.0)
        assert 0 < speaker.speech_ms <= spoken[speaker.label]


def test_turns_move_with_the_start_and_repeat_exactly(diarizer):
    pcm = audio_fixtures.sample()
    turns, found = diarize(diarizer, pcm, 0)
    diarize(diarizer, pcm[::-1].copy(), 0)
    later, again = diarize(diarizer, pcm, 1_234)
    assert [(t.start_ms + 1_234, t.end_ms + 1_234, t.speaker) for t in turns] == [
        (t.start_ms, t.end_ms, t.speaker) for t in later
    ]
    assert found == again


@pytest.mark.parametrize("speaker", ["1688", "1998", "2033", "2414", "3005", "3331"])
def test_a_reader_is_one_speaker(diarizer, speaker):
    pcm = np.concatenate(audio_fixtures.reader(speaker, most=4))
    _, found = diarize(diarizer, pcm, 0)
    assert [s.label for s in found] == ["v1"]
    assert found[0].speech_ms > 0.6 * len(pcm) / 16


def test_two_readers_in_turn_are_two_speakers(diarizer):
    pairs = zip(audio_fixtures.reader("1688", 4), audio_fixtures.reader("2033", 4), strict=True)
    parts = [part for pair in pairs for part in pair]
    turns, found = diarize(diarizer, np.concatenate(parts), 0)
    assert len(found) == 2
    edges = np.cumsum([0] + [len(p) // 16 for p in parts])
    owners = []
    for start, end in itertools.pairwise(edges):
        heard = {
            s.label: sum(max(0, min(t.end_ms, end) - max(t.start_ms, start)) for t in turns if t.speaker == s.label)
            for s in found
        }
        owners.append(max(heard, key=heard.__getitem__))
    assert owners == owners[:2] * 4 and owners[0] != owners[1]
    first, second = (np.array(s.embedding) for s in found)
    assert first @ second < 0.85


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.5, 1.0, 5.0, 5.01, 12.0])
@pytest.mark.parametrize("level", [0.0, 1e-3, 0.05, 0.3])
def test_silence_and_noise_have_no_speaker(diarizer, seconds, level):
    noise = np.random.default_rng(0).normal(0, 1, int(16_000 * seconds)) * level
    assert diarize(diarizer, noise.astype(np.float32).clip(-1, 1), 0) == ((), ())


@pytest.mark.parametrize("seconds", [0.5, 0.8, 1.7, 5.3])
def test_short_recordings_of_speech(diarizer, seconds):
    pcm = audio_fixtures.sample()[8 * 16_000 :][: int(seconds * 16_000)]
    turns, found = diarize(diarizer, pcm, 0)
    assert turns and {t.speaker for t in turns} == {s.label for s in found}
    assert all(0 <= t.start_ms < t.end_ms <= seconds * 1000 for t in turns)
    assert all(np.isfinite(s.embedding).all() for s in found)


def test_telemetry_is_off():
    from pyannote.audio.telemetry.metrics import is_metrics_enabled

    assert not is_metrics_enabled()


def test_pipeline_and_forward_agree_on_embeddings(diarizer):
    """One spectrogram per recording, or pyannote's own way, window by window, give the same embedding."""
    model = diarizer._embedding.model_
    pcm = torch.from_numpy(audio_fixtures.sample())[: 5 * 16_000 * 6]
    window = pcm[8 * 16_000 : 13 * 16_000]
    weights = (torch.arange(293) > 100).float()
    with torch.inference_mode():
        alone = model(window[None, None], weights[None])[0]
        frames = model.encoder.mels(pcm)[800:1301]
        together = model.embed([model.mask_mels(frames, window, weights)], 20)[0]
        nothing = model(window[None, None], torch.zeros(1, 293))[0]
    assert alone @ together > 0.9999
    assert torch.isnan(nothing).all()
    assert model.dimension == 256 == len(alone)


def test_out_of_memory_halves_the_batches_and_changes_nothing(diarizer):
    pcm = audio_fixtures.sample()
    whole = diarize(diarizer, pcm, 0)
    sizes = []

    def short_of_memory(module, inputs):
        sizes.append(len(inputs[0]))
        if len(inputs[0]) > 5:
            raise RuntimeError("CUDA error: out of memory")

    hook = diarizer._segmentation.model.register_forward_pre_hook(short_of_memory)
    try:
        halved = diarize(diarizer, pcm, 0)
    finally:
        hook.remove()
    assert sizes[0] > 5 >= max(sizes[-3:]) and diarizer.segmentation_batch_size == 32
    assert [(t.start_ms, t.end_ms, t.speaker) for t in halved[0]] == [(t.start_ms, t.end_ms, t.speaker) for t in whole[0]]
    for one, two in zip(halved[1], whole[1], strict=True):
        np.testing.assert_allclose(one.embedding, two.embedding, atol=1e-5)


def test_embedded_weights_fill_the_models_exactly():
    assert set(load_ge2e().state_dict()) == set(load_file(SPEAKER_WEIGHTS))
    from voxbeam.models import pyannote_models

    assert set(pyannote_models.load_segmentation().state_dict()) == set(load_file(SEGMENTATION_WEIGHTS))


def test_the_stage_travels_to_workers():
    stage = pickle.loads(pickle.dumps(Diarize(DiarizeConfig())))
    assert stage.name == "diarize" and stage.config == DiarizeConfig()


def test_a_pyannote_pipeline_by_path(tmp_path, monkeypatch):
    """Any pyannote diarization pipeline plugs in; here one from a configuration file."""
    (tmp_path / "config.yaml").write_text(
        "pipeline:\n  name: voxbeam.models.pyannote_models.EmbeddedDiarization\n  params: {step: 0.3, batch: 8}\n"
        "params:\n  segmentation: {threshold: 0.5, min_duration_off: 0.0}\n"
        "  clustering: {method: average, threshold: 0.285, min_cluster_size: 3}\n"
    )
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    other = load_diarizer(DiarizeConfig(pipeline=str(tmp_path / "config.yaml")))
    assert diarize(other, audio_fixtures.sample(), 0) == diarize(load_diarizer(DiarizeConfig()), audio_fixtures.sample(), 0)


def test_an_unknown_pipeline_is_a_model_error(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="is not a pyannote"):
        load_diarizer(DiarizeConfig(pipeline=str(tmp_path / "nothing")))
