"""pyannote models with the embedded weights, and a diarization pipeline that computes embeddings efficiently.

Importing this module disables pyannote's telemetry before pyannote is imported.
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

from voxbeam.assets import SEGMENTATION_WEIGHTS
from voxbeam.models.ge2e import DIMENSION, HOP, load_ge2e, loudness_gain
from voxbeam.models.pyannote_trust import restrict
from voxbeam.schemas.formats import ASR_RATE
from voxbeam.storage.cache import resolve_model

MAX_PARTIALS = 3
"""partial utterances per speaker and window, evenly spaced; a 5 s window has three"""
SPEAKER_PARTIALS = 20
"""partial utterances for the embedding of a whole speaker"""
MIN_MEL_FRAMES = 10
MIN_SOLO_RATIO = 0.06
"""fraction of a window (0.3 s of 5 s) above which a speaker is embedded from non-overlapping speech only"""


def load_segmentation(path: Path = SEGMENTATION_WEIGHTS) -> PyanNet:
    """The segmentation model: for each frame of a 5 s window, the probabilities that each of three speakers is active."""
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
    """A pyannote pipeline by path, bucket address or hub name; None if the hub denies access.

    Neither its configuration nor its checkpoints can run code. Raises ModelError for those that would.
    """
    restrict()
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
        """Embeddings [batch, 256] of waveforms [batch, 1, n]; `weights` [batch, frames] select audio.

        Less than 0.1 s of selected audio gives NaN, as pyannote expects.
        """
        mels = [self.masked_mels(waveform[0], None if weights is None else weights[i]) for i, waveform in enumerate(waveforms)]
        return self.embed(mels, SPEAKER_PARTIALS)

    def masked_mels(self, waveform: Tensor, weights: Tensor | None) -> Tensor | None:
        """Loudness-corrected mel frames [T, 40] where weights exceed one half; None if there are too few."""
        return self.mask_mels(self.encoder.mels(waveform), waveform, weights)

    def mask_mels(self, mels_TM: Tensor, waveform: Tensor, weights: Tensor | None) -> Tensor | None:
        """Like `masked_mels`, with a given mel spectrogram of the waveform."""
        if weights is not None:
            index = (torch.arange(len(mels_TM) - 1, device=weights.device) * len(weights)) // (len(mels_TM) - 1)
            keep = weights[index] > 0.5
            mels_TM = mels_TM[:-1][keep]
            waveform = waveform[: len(keep) * HOP].view(-1, HOP)[keep]
        if len(mels_TM) < MIN_MEL_FRAMES:
            return None
        return mels_TM * loudness_gain(waveform)

    def embed(self, mels: list[Tensor | None], max_partials: int) -> Tensor:
        """Embeddings [len(mels), 256]; NaN in rows of None."""
        rows = [i for i, mel_TM in enumerate(mels) if mel_TM is not None]
        embeddings = torch.full((len(mels), DIMENSION), torch.nan, device=self.device)
        if rows:
            embeddings[rows] = self.encoder.embed([mel_TM for mel_TM in mels if mel_TM is not None], max_partials)
        return embeddings


class NoPLDA(PLDA):
    """Replaces the PLDA model that the constructor would download; agglomerative clustering does not use it."""

    def __init__(self) -> None:
        pass


class EmbeddedDiarization(SpeakerDiarization):
    """pyannote's SpeakerDiarization with the embedded weights.

    Only the computation of embeddings differs, which dominates the time: one spectrogram per recording instead of one per window
    and speaker, none for speakers that are silent in a window, and large batches.
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
        """Embeddings [windows, speakers, 256]; NaN where a speaker talks too little."""
        model: GE2EEmbedding = self._embedding.model_
        waveform, _ = self._audio(file)
        window, step = (
            round(s * ASR_RATE) for s in (binary_segmentations.sliding_window.duration, binary_segmentations.sliding_window.step)
        )
        masks = np.nan_to_num(binary_segmentations.data, nan=0.0).astype(np.float32)
        windows, _, speakers = masks.shape
        missing = max(0, (windows - 1) * step + window - waveform.shape[1])
        padded = torch.nn.functional.pad(waveform[0].to(model.device), (0, missing))
        clean = masks * (masks.sum(axis=2, keepdims=True) < 2) if exclude_overlap else masks
        with torch.inference_mode():
            selected: list[Tensor | None] = []
            mels = model.encoder.mels(padded)
            for w in range(windows):
                audio = padded[w * step : w * step + window]
                frames = mels[w * step // HOP : (w * step + window) // HOP + 1]
                for s in range(speakers):
                    solo = clean[w, :, s] if clean[w, :, s].sum() > MIN_SOLO_RATIO * masks.shape[1] else masks[w, :, s]
                    selected.append(model.mask_mels(frames, audio, torch.from_numpy(solo).to(model.device)))
            embeddings = model.embed(selected, MAX_PARTIALS).cpu().numpy()
        return embeddings.reshape(windows, speakers, -1)

    def reconstruct(
        self, segmentations: SlidingWindowFeature, hard_clusters: NDArray[np.int8], count: SlidingWindowFeature
    ) -> SlidingWindowFeature:
        """Like the base class, but never more simultaneous speakers than were found: it would invent labels for the surplus."""
        found = max(1, int(np.max(hard_clusters)) + 1)
        capped = SlidingWindowFeature(np.minimum(count.data, found), count.sliding_window)
        return super().reconstruct(segmentations, hard_clusters, capped)
