"""pyannote's segmentation model with the embedded weights, and pyannote pipelines by name.

Importing this module disables pyannote's telemetry before pyannote is imported.
"""

import os

os.environ["PYANNOTE_METRICS_ENABLED"] = "false"

from pathlib import Path

import torch
from pyannote.audio import Model, Pipeline
from pyannote.audio.core.plda import PLDA
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.models.segmentation import PyanNet
from pyannote.audio.pipelines import SpeakerDiarization
from safetensors.torch import load_file
from torch import Tensor

from voxbeam.assets import SEGMENTATION_WEIGHTS
from voxbeam.models.campplus import DIMENSION, fbank, load_campplus
from voxbeam.models.hub_models import pyannote_files
from voxbeam.models.pyannote_trust import restrict
from voxbeam.models.speech_activity import WINDOW_S
from voxbeam.schemas.formats import ASR_RATE

MIN_FRAMES = 10
"""less speech than this (0.1 s) gives no embedding"""


def load_segmentation(path: Path = SEGMENTATION_WEIGHTS) -> PyanNet:
    """The segmentation model (Plaquet and Bredin 2023): for each frame of a 10 s window, which of three speakers talk, at most
    two at once."""
    model = PyanNet(sincnet={"stride": 10}, lstm={"num_layers": 4, "dropout": 0.5})
    model.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=float(WINDOW_S),
        classes=["speaker#1", "speaker#2", "speaker#3"],
        powerset_max_classes=2,
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
    return Pipeline.from_pretrained(pyannote_files(name))


class SpeakerEmbedding(Model):
    """The CAM++ speaker encoder as a pyannote embedding model."""

    def __init__(self) -> None:
        super().__init__(sample_rate=ASR_RATE, num_channels=1)
        self.encoder = load_campplus()
        self.specifications = Specifications(
            problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=float(WINDOW_S)
        )

    @property
    def dimension(self) -> int:
        return DIMENSION

    def forward(self, waveforms: Tensor, weights: Tensor | None = None) -> Tensor:
        """Embeddings [batch, 192] of waveforms [batch, 1, n]; `weights` [batch, frames] select audio.

        Less than 0.1 s of selected audio gives NaN, as pyannote expects.
        """
        features = [fbank(waveform[0]) for waveform in waveforms]
        if weights is not None:
            features = [_select(features_TF, weights_W) for features_TF, weights_W in zip(features, weights, strict=True)]
        rows = [i for i, features_TF in enumerate(features) if len(features_TF) >= MIN_FRAMES]
        embeddings = torch.full((len(features), DIMENSION), torch.nan, device=self.device)
        if rows:
            embeddings[rows] = self.encoder.embed([features[i] for i in rows])
        return embeddings


def _select(features_TF: Tensor, weights_W: Tensor) -> Tensor:
    """The frames where the weights, spread evenly over the same time, exceed one half."""
    index = torch.arange(len(features_TF), device=weights_W.device) * len(weights_W) // max(1, len(features_TF))
    return features_TF[weights_W[index] > 0.5]


class NoPLDA(PLDA):
    """Replaces the PLDA model that the constructor would download; agglomerative clustering does not use it."""

    def __init__(self) -> None:
        pass


class StockPipeline(SpeakerDiarization):
    """pyannote's own pipeline with the embedded weights: what the stage `diarize` is compared with."""

    def __init__(self, step: float = 0.1, batch: int = 32, token: str | None = None, cache_dir: str | None = None) -> None:
        super().__init__(
            segmentation=load_segmentation(),
            segmentation_step=step,
            segmentation_batch_size=batch,
            embedding=SpeakerEmbedding(),
            embedding_batch_size=batch,
            embedding_exclude_overlap=True,
            plda=NoPLDA(),
            clustering="AgglomerativeClustering",
            token=token,
            cache_dir=cache_dir,
        )
