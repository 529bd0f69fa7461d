"""`overfit_cpu` memorizes twenty utterances of a release built from TTS audio, and synthesizes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch

from voxbeam.commands.train import corpus_codec
from voxbeam.models.load_valle import load_models
from voxbeam.models.speech_metrics import WhisperTranscriber, normalize_words
from voxbeam.models.words import word_errors
from voxbeam.pipeline.build import build
from voxbeam.schemas.config import CorpusConfig, SegmentConfig
from voxbeam.synthesis.generate import Request, generate
from voxbeam.synthesis.sampling import SamplingConfig
from voxbeam.trainer.configs import CONFIGS, apply_overrides
from voxbeam.trainer.data.sampler import SamplerConfig
from voxbeam.trainer.data.stream import Stream, StreamConfig
from voxbeam.trainer.training import Trainer

from tests.speech import RATE, SENTENCES, join, tts_voice

pytestmark = [pytest.mark.build, pytest.mark.slow]
PROMPT_FRAMES = 60
SHORT_CUTS = SegmentConfig(min_s=1.5, max_s=5, target_min_s=1.5, target_max_s=4)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """A chapter of short sentences, one utterance each."""
    folder = tmp_path_factory.mktemp("learning")
    say = tts_voice()
    chapter, _ = join([say(text) for text in sorted(SENTENCES, key=len)[:20]], [0.6] * 20)
    (folder / "in" / "joe" / "book").mkdir(parents=True)
    sf.write(folder / "in" / "joe" / "book" / "chapter.flac", chapter, RATE)
    config = CorpusConfig(segment=SHORT_CUTS)
    build(str(folder / "in"), str(folder / "corpus"), config, runner_args=["--direct_num_workers=1"])
    return Stream(str(folder / "corpus"), config=StreamConfig(sampler=SamplerConfig(batch_frames=1500)))


def test_twenty_utterances_are_memorized_and_synthesized(stream: Stream, tmp_path: Path, capsys: Any) -> None:
    utterances = stream.read(np.arange(len(stream.index)))
    assert len(utterances) >= 19
    settings = "steps=300 warmup_steps=20 learning_rate=5e-3 ema_decay=0.9 save_every=300 validate_every=300 validate_batches=9"
    config = apply_overrides(CONFIGS["overfit_cpu"](), settings.split())
    codec = corpus_codec("embedded", stream)
    trainer = Trainer(config, stream.index.phones, stream.steps, stream.steps, str(tmp_path), codec=codec)
    trainer.train()
    metrics = trainer.validate()
    accuracy = {codebook: metrics[f"valid/top10/{codebook}"] for codebook in range(8)}
    assert min(accuracy.values()) > 0.95, accuracy

    ar, nar, _ = load_models(str(tmp_path), codec=codec)
    requests = [Request(phones_L=u.phones_L, prompt_KP=u.codes_KT[:, :PROMPT_FRAMES], max_frames=400) for u in utterances]
    torch.manual_seed(0)
    generated = generate(ar, nar, requests, SamplingConfig(top_p=0.5))
    assert sum(one.finished for one in generated) > 0.8 * len(generated)
    transcriber = WhisperTranscriber()
    whole = [np.concatenate([r.prompt_KP, one.codes_KT], axis=1) for r, one in zip(requests, generated, strict=True)]
    texts = [normalize_words(stream.index.text(number)) for number in range(len(utterances))]
    rates = {}
    for name, codes in (("codec", [u.codes_KT for u in utterances]), ("model", whole)):
        transcripts = [normalize_words(transcriber.transcribe(wave_S)) for wave_S in codec.decode(codes)]
        rates[name] = sum(word_errors(*pair) for pair in zip(texts, transcripts, strict=True)) / sum(map(len, texts))
    with capsys.disabled():
        print(f"\nWER: {rates['model']:.1%} synthesized, {rates['codec']:.1%} codec resynthesis")
    assert rates["model"] < rates["codec"] + 0.3
