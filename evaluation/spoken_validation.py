"""Spoken validation: a model in training speaks a few sentences of a split, the same ones with the same seed every time.

It says what the loss does not: whether words are understood, whose voice it is, and whether the model ends.
"""

from __future__ import annotations

import torch

from voxbeam.evaluation.prompts import choose_cases
from voxbeam.evaluation.zero_shot import build_request, measure
from voxbeam.models.codec import Codec
from voxbeam.models.speech_metrics import WhisperTranscriber, embed_speaker
from voxbeam.models.threads import pin_threads
from voxbeam.models.valle import ARModel, NARModel
from voxbeam.synthesis.generate import generate
from voxbeam.synthesis.sampling import SamplingConfig
from voxbeam.trainer.data.stream import Stream


class SpokenValidation:
    """Up to `count` utterances of a split, each prompted by another one of its speaker.

    Raises ValueError if no speaker of the split has two suitable utterances, ModelError for a recognizer that is not there.
    """

    def __init__(self, stream: Stream, codec: Codec, transcriber: WhisperTranscriber, count: int, seed: int = 0) -> None:
        self.codec, self.transcriber, self.seed = codec, transcriber, seed
        self.cases = choose_cases(stream, count, seed)
        self._requests = [build_request(case, stream.separator, False) for case in self.cases]
        prompts = codec.decode([case.prompt.codes_KT for case in self.cases])
        self._prompts = [embed_speaker(wave_S) for wave_S in prompts]
        transcriber.transcribe(prompts[0])  # a recognizer that is missing fails now, not hours later
        self._pin_threads()

    def __call__(self, ar: ARModel, nar: NARModel) -> dict[str, float]:
        """`spoken/{wer,similarity,truncated,duration}`: word error rate, mean cosine of CAM++ embeddings with the prompt,
        fraction that had to be cut, and mean duration divided by the true one.
        """
        ar.eval()
        nar.eval()
        generated = generate(ar, nar, self._requests, SamplingConfig(), seed=self.seed)
        waves = self.codec.decode([one.codes_KT for one in generated])
        truncated = 1 - sum(one.finished for one in generated) / len(generated)
        row = measure("model", self.cases, self._prompts, waves, self.transcriber, 0.0, truncated)
        self._pin_threads()
        return {
            "spoken/wer": row.wer,
            "spoken/similarity": row.speaker_similarity,
            "spoken/truncated": row.truncated_rate,
            "spoken/duration": row.duration_ratio,
        }

    def _pin_threads(self) -> None:
        """Loading Whisper resets the number of threads, which changes the last digits of later steps."""
        if not torch.cuda.is_available():
            pin_threads()
