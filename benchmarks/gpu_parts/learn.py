"""Learn: trains a small model on a corpus for some minutes with the product's `Trainer`; writes weights and samples of speech.

The weights are checkpoints of the averaged weights in bf16, `OUT/ar` and `OUT/nar`, which `voxbeam generate OUT` can load. Every
file is smaller than 16 MiB. The number of steps is what the time allows, so that the learning rate decays to zero.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
import threading
import time
import wave
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from voxbeam.models import checkpoint
from voxbeam.models.codec import EMBEDDED_WEIGHTS, Codec, load_codec
from voxbeam.models.transformer import TransformerConfig
from voxbeam.models.valle import MAX_PROMPT_FRAMES, ARModel, NARModel
from voxbeam.schemas.errors import StorageError
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.storage.releases import read_release
from voxbeam.synthesis.generate import Request, generate
from voxbeam.synthesis.sampling import SamplingConfig
from voxbeam.trainer.configs import TrainConfig, overfit_cpu
from voxbeam.trainer.data.sampler import SamplerConfig
from voxbeam.trainer.data.stream import Step, Stream, StreamConfig
from voxbeam.trainer.training import BatchSource, Trainer

from benchmarks.gpu_parts.measure import Bench, Measured
from benchmarks.gpu_parts.results import Scalar
from benchmarks.gpu_parts.synthetic_data import N_PHONES, synthetic_utterance

MAX_BYTES = 16 << 20
SAMPLES = 2
TRIAL_STEPS = 8


def measure(bench: Bench) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        corpus = bench.corpus
        if not corpus and bench.dry_run:
            corpus = f"{scratch}/corpus"
            write_tar(Path(corpus))
        if not corpus:
            bench.skip("train", "no corpus: give --corpus FOLDER, a corpus of `voxbeam build` or plain WebDataset tars")
            return
        settings: dict[str, Scalar] = {"corpus": Path(corpus).name, "minutes": bench.minutes}
        bench.measure("train", settings, partial(train, bench, corpus, scratch))


def config_of(bench: Bench) -> TrainConfig:
    """Small enough for 16 MiB per model in bf16: 7.4 million weights in the NAR model, the larger one."""
    if bench.dry_run:
        tiny = TransformerConfig(n_layers=1, n_heads=2, d_model=32, d_ff=64, dropout=0.0)
        return replace(overfit_cpu(), transformer=tiny, batch_frames=300, rank_frames=300, log_every=5)
    return TrainConfig(
        transformer=TransformerConfig(n_layers=5, n_heads=4, d_model=256, d_ff=1024, dropout=0.1),
        learning_rate=1e-3,
        batch_frames=24_000,
        rank_frames=24_000,
        weight_decay=0.1,
        save_every=1_000_000_000,
        validate_every=1_000_000_000,
    )


def train(bench: Bench, corpus: str, scratch: str) -> Measured:
    """Steps per second, and losses; writes weights and samples."""
    began = time.monotonic()
    seconds = 60 * bench.minutes
    config = config_of(bench)
    stream = open_stream(corpus, "train", config)
    codec = corpus_codec(stream)
    step_s = trial(config, stream, codec, f"{scratch}/trial")
    fitting = int((seconds - (time.monotonic() - began)) / step_s)
    steps = TRIAL_STEPS if bench.dry_run else max(TRIAL_STEPS, fitting)
    config = replace(config, steps=steps, warmup_steps=max(1, steps // 20), log_every=max(1, steps // 10))
    trainer = Trainer(config, stream.index.phones, stream.steps, None, f"{scratch}/run", codec=codec)
    size = max(sum(parameter.numel() for parameter in state.parameters.values()) for state in trainer.states)
    if 2 * size + (1 << 16) > MAX_BYTES:
        raise ValueError(f"{size:,} weights take more than {MAX_BYTES} bytes in bf16: choose a smaller model in {__name__}")
    timer = threading.Timer(seconds, lambda: setattr(trainer, "stopping", True))  # if steps take longer than in the trial
    timer.start()
    started = time.monotonic()
    progress = trainer.train()
    took_s = time.monotonic() - started
    timer.cancel()
    trainer.valid_source, split = validation_source(corpus, config, stream)
    notes: dict[str, Scalar] = {"steps": progress.step, "planned_steps": steps, "validated_on": split}
    notes |= {name: value for name, value in trainer.validate().items() if name.startswith("valid/loss")}
    write_weights(bench.out, trainer)
    write_samples(bench.out, trainer, stream, codec)
    return Measured(progress.step / took_s, "steps/s", notes)


def trial(config: TrainConfig, stream: Stream, codec: Codec, uri: str) -> float:
    """Seconds per step, from a few steps of a run that is discarded; the first steps are not counted."""
    began: list[float] = []

    def timed(state: int) -> Iterator[Step]:
        for step in stream.steps(state):
            began.append(time.monotonic())
            yield step

    Trainer(replace(config, steps=TRIAL_STEPS, warmup_steps=1), stream.index.phones, timed, None, uri, codec=codec).train()
    return (began[-1] - began[3]) / (len(began) - 4)


def open_stream(corpus: str, split: str, config: TrainConfig) -> Stream:
    fraction = config.prompt_fraction if split == "train" else 0.0
    sampler = SamplerConfig(batch_frames=config.batch_frames, prompt_fraction=fraction, seed=config.seed)
    return Stream(corpus, split=split, config=StreamConfig(sampler=sampler, rank_frames=config.rank_frames))


def corpus_codec(stream: Stream) -> Codec:
    """The embedded codec. Raises ValueError if the release was made with another one; plain tars do not say."""
    codec, index = load_codec(EMBEDDED_WEIGHTS), stream.index
    if index.release is not None:
        made_with = read_release(index.store, index.release).models["tokenize"]
        if made_with != codec.sha256:
            raise ValueError(
                f"{index.store.root} was made with another codec (sha256 {made_with}): give one made with `embedded`"
            )
    return codec


def validation_source(corpus: str, config: TrainConfig, stream: Stream) -> tuple[BatchSource, str]:
    """The valid split, or the train split if the corpus has none."""
    try:
        return open_stream(corpus, "valid", config).steps, "valid"
    except (StorageError, ValueError):  # plain tars have no splits, and that of a small release may be empty
        return stream.steps, "train: there is no valid split"


def write_weights(out: Path, trainer: Trainer) -> None:
    """The averaged weights of each model as a checkpoint in bf16."""
    facts = {
        **asdict(trainer.progress),
        "data": dict(trainer.data),
        "codec_sha256": trainer.codec_sha256,
        "config": asdict(trainer.config),
        "model": asdict(trainer.model_config),
    }
    for state in trainer.states:
        tensors = {
            f"{state.name}/average/{name}": value.detach().to("cpu", torch.bfloat16) for name, value in state.average.items()
        }
        store = checkpoint.checkpoint_store(f"{out}/{state.name}")
        checkpoint.write(store, trainer.progress.step, checkpoint.Checkpoint(tensors, facts), keep_last=1)


def write_samples(out: Path, trainer: Trainer, stream: Stream, codec: Codec) -> None:
    """WAVs of utterances of which the model continues the first three seconds."""
    ar_state, nar_state = trainer.states
    ar, nar = ar_state.model.eval(), nar_state.model.eval()
    assert isinstance(ar, ARModel) and isinstance(nar, NARModel)
    longest = np.argsort(-stream.index.arrays["frames"], kind="stable")
    chosen = longest[len(longest) // 4 :: max(1, len(longest) // 2)][:SAMPLES]
    requests = []
    for utterance in stream.read(np.sort(chosen)):
        frames = utterance.codes_KT.shape[1]
        prompt_KP = utterance.codes_KT[:, : min(MAX_PROMPT_FRAMES, frames // 2)]
        max_frames = frames - prompt_KP.shape[1]
        requests.append(Request(phones_L=utterance.phones_L, prompt_KP=prompt_KP, max_frames=max_frames))
    with ar_state.averaged(), nar_state.averaged():
        results = generate(ar, nar, requests, SamplingConfig())
    for number, (request, result) in enumerate(zip(requests, results, strict=True), start=1):
        codes_KT = np.concatenate([request.prompt_KP, result.codes_KT], axis=1)
        write_wav(out / f"learn_{number}.wav", codec.decode([codes_KT])[0])


def write_wav(path: Path, wave_S: NDArray[np.float32]) -> None:
    """16 bits, mono, 24 kHz; truncated to the largest file."""
    pcm = (np.clip(wave_S[: MAX_BYTES // 2 - 64], -1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(CODEC_RATE)
        file.writeframes(pcm.tobytes())


def write_tar(folder: Path) -> None:
    """A plain WebDataset tar of a dozen utterances of random codes, for a dry run."""
    folder.mkdir(parents=True)
    (folder / "phones.json").write_text(json.dumps({"phones": [f"p{number}" for number in range(N_PHONES)]}))
    rng = np.random.default_rng(0)
    with tarfile.open(folder / "synthetic.tar", "w") as tar:
        for number in range(12):
            utterance = synthetic_utterance(rng, f"u{number}", int(rng.integers(40, 80)))
            codes = io.BytesIO()
            np.save(codes, utterance.codes_KT)
            fields = {"speaker": "s", "text": "", "start_ms": 0, "words": None, "phone_ids": utterance.phones_L.tolist()}
            for name, content in (("codes.npy", codes.getvalue()), ("json", json.dumps(fields).encode())):
                member = tarfile.TarInfo(f"{utterance.key}.{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
