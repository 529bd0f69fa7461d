"""Diarize: speakers of real speech, silence and noise, determinism, no network."""

import itertools
import math
import pickle
import socket
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from voxbeam.assets import SEGMENTATION_WEIGHTS
from voxbeam.models.campplus import SPEAKER_WEIGHTS, fbank, load_campplus
from voxbeam.models.second_voice import SECOND_VOICE_WEIGHTS, load_second_voice
from voxbeam.models.speech_activity import find_activity
from voxbeam.models.voice_track import EXCERPT_S, track_voices
from voxbeam.schemas.config import DiarizeConfig
from voxbeam.schemas.errors import ModelError
from voxbeam.transforms.diarize import UNNAMED, Diarize, diarize, load_diarizer

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


def run(diarizer, pcm, start_ms=0):
    return diarize(diarizer, pcm, start_ms, DiarizeConfig())


def test_a_conversation_has_two_speakers_and_mixed_times(diarizer):
    found = run(diarizer, audio_fixtures.sample(), 5_000)
    assert [s.label for s in found.speakers[:2]] == ["v1", "v2"]
    assert sum(s.speech_ms for s in found.speakers[2:]) < 4_000, "a doubtful stretch may get a label of its own"
    spoken = {
        label: sum(t.end_ms - t.start_ms for t in found.turns if t.speaker == label) for label in {t.speaker for t in found.turns}
    }
    assert spoken["v1"] >= spoken["v2"] > 3_000
    assert all(5_000 <= t.start_ms < t.end_ms <= 35_000 for t in found.turns)
    assert all(a.end_ms <= b.start_ms for a, b in itertools.pairwise(found.turns)), "one speaker at a time"
    assert found.mixed and all(5_000 <= start < end <= 35_000 for start, end in found.mixed)
    assert sum(end - start for start, end in found.mixed) < 15_000
    assert found.beside, "the people of this sample interrupt each other"
    for both in found.beside:
        assert both.speaker in {s.label for s in found.speakers}
        at_once = {t.speaker for t in found.turns if t.start_ms < both.end_ms and t.end_ms > both.start_ms}
        assert both.speaker not in at_once, "nobody speaks beside themselves"
    for speaker in found.speakers:
        assert np.isclose(np.linalg.norm(speaker.embedding), 1.0)
        assert 0 < speaker.speech_ms <= spoken[speaker.label]


def test_turns_move_with_the_start_and_repeat_exactly(diarizer):
    pcm = audio_fixtures.sample()
    first = run(diarizer, pcm)
    run(diarizer, pcm[::-1].copy())
    later = run(diarizer, pcm, 1_234)
    assert [(t.start_ms + 1_234, t.end_ms + 1_234, t.speaker) for t in first.turns] == [
        (t.start_ms, t.end_ms, t.speaker) for t in later.turns
    ]
    assert first.speakers == later.speakers
    assert [(start + 1_234, end + 1_234) for start, end in first.mixed] == list(later.mixed)


@pytest.mark.parametrize("speaker", ["1688", "1998", "2033", "2414", "3005", "3331"])
def test_a_reader_is_one_speaker(diarizer, speaker):
    pcm = np.concatenate(audio_fixtures.reader(speaker, most=4))
    found = run(diarizer, pcm)
    assert [s.label for s in found.speakers] == ["v1"] and not found.beside
    assert found.speakers[0].speech_ms > 0.6 * len(pcm) / 16


@pytest.mark.parametrize("speaker", ["6454", "5561"])
def test_a_reader_who_sounds_strange_is_no_conversation(diarizer, speaker):
    """The detector of second voices alone hears two people all through the first reading, and in an eighth of the second."""
    (pcm,) = audio_fixtures.reader(speaker, most=1)
    found = run(diarizer, pcm)
    assert [s.label for s in found.speakers] == ["v1"]
    assert all(end <= found.turns[0].start_ms for _, end in found.mixed), "nothing of the speech"


def test_a_few_strange_words_get_no_label(diarizer):
    """The first 1.4 s of this reading sound like nobody else in it: too little to know a person by, so they are cut out."""
    (pcm,) = audio_fixtures.reader("1502", most=1)
    found = run(diarizer, pcm)
    assert [s.label for s in found.speakers] == ["v1"]
    assert all(end < 2_300 for _, end in found.mixed)


def test_a_word_over_the_only_known_voice_is_beside_it_without_a_name(diarizer):
    reading, word = audio_fixtures.reader("2033", 2), audio_fixtures.reader("1688", 1)[0]
    pcm = np.concatenate(reading)
    loud = int(np.convolve(np.abs(pcm[: len(pcm) // 2]), np.ones(8_000), "valid").argmax())
    begin = int(np.convolve(np.abs(word), np.ones(8_000), "valid").argmax())
    pcm[loud : loud + 8_000] += word[begin : begin + 8_000]
    found = run(diarizer, pcm, 1_000)
    assert [s.label for s in found.speakers] == ["v1"] and {t.speaker for t in found.turns} == {"v1"}
    assert {t.speaker for t in found.beside} == {UNNAMED}
    at = 1_000 + loud // 16
    assert sum(max(0, min(t.end_ms, at + 500) - max(t.start_ms, at)) for t in found.beside) > 250
    assert all(at - 200 < t.start_ms and t.end_ms < at + 700 for t in found.beside)


def test_two_readers_in_turn_are_two_speakers(diarizer):
    pairs = zip(audio_fixtures.reader("1688", 4), audio_fixtures.reader("2033", 4), strict=True)
    parts = [part for pair in pairs for part in pair]
    result = run(diarizer, np.concatenate(parts))
    turns, found = result.turns, result.speakers
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
    assert first @ second < 0.5


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.5, 1.0, 5.0, 5.01, 12.0])
@pytest.mark.parametrize("level", [0.0, 1e-3, 0.05, 0.3])
def test_silence_and_noise_have_no_speaker(diarizer, seconds, level):
    noise = np.random.default_rng(0).normal(0, 1, int(16_000 * seconds)) * level
    found = run(diarizer, noise.astype(np.float32).clip(-1, 1))
    assert (found.turns, found.speakers, found.mixed) == ((), (), ())


@pytest.mark.parametrize("seconds", [0.5, 0.8, 1.7, 5.3])
def test_short_recordings_of_speech(diarizer, seconds):
    pcm = audio_fixtures.sample()[8 * 16_000 :][: int(seconds * 16_000)]
    result = run(diarizer, pcm)
    turns, found = result.turns, result.speakers
    assert turns and {t.speaker for t in turns} == {s.label for s in found}
    assert all(0 <= t.start_ms < t.end_ms <= seconds * 1000 for t in turns)
    assert all(np.isfinite(s.embedding).all() for s in found)


@pytest.mark.parametrize("samples", [1_600, 16_007, 160_000, 160_001, 230_405])
def test_the_hidden_layer_covers_every_frame(diarizer, samples):
    pcm = np.resize(audio_fixtures.sample(), samples)
    activity = find_activity(diarizer.segmentation, pcm, 4)
    assert activity.hidden_UH.shape == (math.ceil(math.ceil(samples / 160) / 2), 128)
    assert len(activity.hidden_UH) >= len(track_voices(diarizer.encoder, pcm).frames_UC)
    assert np.isfinite(activity.hidden_UH.astype(np.float32)).all() and activity.hidden_UH.any(axis=1).all()


def test_telemetry_is_off():
    from pyannote.audio.telemetry.metrics import is_metrics_enabled

    assert not is_metrics_enabled()


def test_parts_of_a_track_have_the_embeddings_of_their_sound(diarizer):
    """Frames computed once for an excerpt and its margin, or for the excerpt alone, nearly agree."""
    pcm = audio_fixtures.sample()
    track = track_voices(diarizer.encoder, pcm)
    assert track.blocks == 300
    whole = track.embed(np.array([0]), np.array([EXCERPT_S * 10]))[0]
    with torch.inference_mode():
        alone = diarizer.encoder.embed([fbank(torch.from_numpy(pcm[: EXCERPT_S * 16_000]))])[0].numpy()
    assert whole @ alone > 0.97


def test_out_of_memory_halves_the_batches_and_changes_nothing(diarizer):
    pcm = audio_fixtures.sample()
    whole = run(diarizer, pcm)
    sizes = []

    def short_of_memory(module, inputs):
        sizes.append(len(inputs[0]))
        if len(inputs[0]) > 2:
            raise RuntimeError("CUDA error: out of memory")

    hook = diarizer.segmentation.sincnet.register_forward_pre_hook(short_of_memory)
    try:
        halved = run(diarizer, pcm)
    finally:
        hook.remove()
    assert sizes[0] > 2 >= max(sizes[-2:])
    assert halved.turns == whole.turns


def test_embedded_weights_fill_the_models_exactly():
    assert set(load_campplus().state_dict()) == set(load_file(SPEAKER_WEIGHTS))
    assert set(load_second_voice().state_dict()) == set(load_file(SECOND_VOICE_WEIGHTS))
    from voxbeam.models import pyannote_models

    assert set(pyannote_models.load_segmentation().state_dict()) == set(load_file(SEGMENTATION_WEIGHTS))


def test_the_stage_travels_to_workers():
    stage = pickle.loads(pickle.dumps(Diarize(DiarizeConfig())))
    assert stage.name == "diarize" and stage.config == DiarizeConfig()


def test_a_pyannote_pipeline_by_path(tmp_path, monkeypatch):
    """Any pyannote diarization pipeline plugs in; here one from a configuration file."""
    (tmp_path / "config.yaml").write_text(
        "pipeline:\n  name: voxbeam.models.pyannote_models.StockPipeline\n  params: {step: 0.5, batch: 8}\n"
        "params:\n  segmentation: {min_duration_off: 0.0}\n"
        "  clustering: {method: average, threshold: 0.6, min_cluster_size: 2}\n"
    )
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = DiarizeConfig(pipeline=str(tmp_path / "config.yaml"))
    found = diarize(load_diarizer(config), audio_fixtures.sample(), 0, config)
    assert [s.label for s in found.speakers] == ["v1", "v2"] and found.mixed
    ours = run(load_diarizer(DiarizeConfig()), audio_fixtures.sample())
    for theirs in found.speakers:
        assert max(np.dot(theirs.embedding, s.embedding) for s in ours.speakers) > 0.8, "the same people"


def test_an_unknown_pipeline_is_a_model_error(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="is not a pyannote"):
        load_diarizer(DiarizeConfig(pipeline=str(tmp_path / "nothing")))
