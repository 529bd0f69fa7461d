"""pyannote `Model`s with the embedded weights, and a diarization pipeline that feeds them efficiently.

Importing this module switches pyannote's telemetry off before pyannote is imported.
"""

import os

os.environ["PYANNOTE_METRICS_ENABLED"] = "false"

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pyannote.audio import Model, Pipeline
from pyannote.audio.core.plda import PLDA
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.models.segmentation import PyanNet
from pyannote.audio.pipelines import SpeakerDiarization
from pyannote.core import SlidingWindowFeature
from safetensors.torch import load_file
from torch import Tensor

from voxbeam.assets import WEIGHTS
from voxbeam.models.ge2e import DIMENSION, HOP, load_ge2e, loudness_gain
from voxbeam.schemas.formats import ASR_RATE
from voxbeam.storage.cache import resolve_model

SEGMENTATION_WEIGHTS = WEIGHTS / "segmentation_pyannet.safetensors"
MAX_PARTIALS = 3
"""partial utterances per voice and window, evenly spread; a 5 s window holds three"""
VOICE_PARTIALS = 20
"""partial utterances where a whole voice is embedded"""
MIN_MEL_FRAMES = 10
MIN_ALONE = 0.06
"""share of a window that a voice must speak alone to be known by that sound only, 0.3 s of 5 s"""


def load_segmentation(path: Path = SEGMENTATION_WEIGHTS) -> PyanNet:
    """Who of up to three voices speaks in each frame of a 5 s window, as independent probabilities."""
    model = PyanNet(sincnet={"stride": 10}, lstm={"num_layers": 4, "dropout": 0.5})
    model.specifications = Specifications(
        problem=Problem.MULTI_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=5.0,
        classes=["speaker#1", "speaker#2", "speaker#3"],
        permutation_invariant=True,
    )
    model.build()
    model.load_state_dict(load_file(path))
    return model.eval()


def load_pipeline(name: str) -> Pipeline | None:
    """A pyannote pipeline by path, bucket address or hub name; None when the hub refuses it."""
    return Pipeline.from_pretrained(resolve_model(name))


class GE2EEmbedding(Model):
    """The GE2E speaker encoder as a pyannote embedding model."""

    def __init__(self) -> None:
        super().__init__(sample_rate=ASR_RATE, num_channels=1)
        self.encoder = load_ge2e()
        self.specifications = Specifications(problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=5.0)

    @property
    def dimension(self) -> int:
        return DIMENSION

    def forward(self, waveforms: Tensor, weights: Tensor | None = None) -> Tensor:
        """Embeddings [batch, 256] of waveforms [batch, 1, n]; `weights` [batch, frames] choose what is heard.

        Less than 0.1 s of chosen sound gives not-a-number, as pyannote expects.
        """
        chosen = [self.heard(waveform[0], None if weights is None else weights[i]) for i, waveform in enumerate(waveforms)]
        return self.embed(chosen, VOICE_PARTIALS)

    def heard(self, waveform: Tensor, weights: Tensor | None) -> Tensor | None:
        """Loudness-corrected mel frames [T, 40] where weights exceed one half; None when they are too few."""
        return self.select(self.encoder.mels(waveform), waveform, weights)

    def select(self, mels_TM: Tensor, waveform: Tensor, weights: Tensor | None) -> Tensor | None:
        """As `heard`, with the mel spectrogram of the waveform at hand."""
        if weights is not None:
            index = (torch.arange(len(mels_TM) - 1, device=weights.device) * len(weights)) // (len(mels_TM) - 1)
            keep = weights[index] > 0.5
            mels_TM = mels_TM[:-1][keep]
            waveform = waveform[: len(keep) * HOP].view(-1, HOP)[keep]
        if len(mels_TM) < MIN_MEL_FRAMES:
            return None
        return mels_TM * loudness_gain(waveform)

    def embed(self, chosen: list[Tensor | None], max_partials: int) -> Tensor:
        """Embeddings [len(chosen), 256]; rows of None are not-a-number."""
        rows = [i for i, mels in enumerate(chosen) if mels is not None]
        embeddings = torch.full((len(chosen), DIMENSION), torch.nan, device=self.device)
        if rows:
            embeddings[rows] = self.encoder.embed([m for m in chosen if m is not None], max_partials)
        return embeddings


class NoPLDA(PLDA):
    """Stands in for the PLDA that the constructor would fetch from the hub; agglomerative clustering uses none."""

    def __init__(self) -> None:
        pass


class EmbeddedDiarization(SpeakerDiarization):
    """pyannote's SpeakerDiarization with the embedded weights.

    It differs from its parent in how embeddings are computed, which dominates the time: one spectrogram per recording
    instead of one per window and voice, nothing at all for voices that are silent in a window, and large batches.
    """

    def __init__(self, step: float, batch: int, token: str | None = None, cache_dir: str | None = None) -> None:
        super().__init__(
            segmentation=load_segmentation(),
            segmentation_step=step,
            segmentation_batch_size=batch,
            embedding=GE2EEmbedding(),
            embedding_batch_size=batch,
            embedding_exclude_overlap=True,
            plda=NoPLDA(),
            clustering="AgglomerativeClustering",
            token=token,
            cache_dir=cache_dir,
        )

    def get_embeddings(
        self,
        file: Any,
        binary_segmentations: SlidingWindowFeature,
        exclude_overlap: bool = False,
        hook: Callable[..., None] | None = None,
    ) -> NDArray[np.float32]:
        """Embeddings [windows, voices, 256] of voices in windows; not-a-number where a voice says too little."""
        model: GE2EEmbedding = self._embedding.model_
        waveform, _ = self._audio(file)
        window, step = (
            round(s * ASR_RATE) for s in (binary_segmentations.sliding_window.duration, binary_segmentations.sliding_window.step)
        )
        masks = np.nan_to_num(binary_segmentations.data, nan=0.0).astype(np.float32)
        windows, _, voices = masks.shape
        missing = max(0, (windows - 1) * step + window - waveform.shape[1])
        padded = torch.nn.functional.pad(waveform[0].to(model.device), (0, missing))
        clean = masks * (masks.sum(axis=2, keepdims=True) < 2) if exclude_overlap else masks
        with torch.inference_mode():
            chosen: list[Tensor | None] = []
            mels = model.encoder.mels(padded)
            for w in range(windows):
                sound = padded[w * step : w * step + window]
                frames = mels[w * step // HOP : (w * step + window) // HOP + 1]
                for v in range(voices):
                    alone = clean[w, :, v] if clean[w, :, v].sum() > MIN_ALONE * masks.shape[1] else masks[w, :, v]
                    chosen.append(model.select(frames, sound, torch.from_numpy(alone).to(model.device)))
            embeddings = model.embed(chosen, MAX_PARTIALS).cpu().numpy()
        return embeddings.reshape(windows, voices, -1)

    def reconstruct(
        self, segmentations: SlidingWindowFeature, hard_clusters: NDArray[np.int8], count: SlidingWindowFeature
    ) -> SlidingWindowFeature:
        """As the parent, but never more voices at once than were found: the parent invents labels for the surplus."""
        found = max(1, int(np.max(hard_clusters)) + 1)
        capped = SlidingWindowFeature(np.minimum(count.data, found), count.sliding_window)
        return super().reconstruct(segmentations, hard_clusters, capped)
