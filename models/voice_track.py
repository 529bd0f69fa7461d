"""Voice track: the speaker encoder run once over a stretch of audio, from which any part of it can be embedded at little cost.

CAM++ pools its frames into mean and standard deviation only at the end. The frames of a whole unit are computed once, in
excerpts of 12 s, and kept; the embedding of a part is then made from sums of its frames.

Shapes: n samples, U frames (50 per second), C = 512 channels, E = 192 embedding values, N blocks of 100 ms, W parts.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from voxbeam.models.campplus import FRAMES_PER_SECOND, CAMPlusPlus, fbank
from voxbeam.schemas.formats import ASR_RATE

BLOCK_MS = 100
FRAME_MS = 20
BLOCK_FRAMES = BLOCK_MS // FRAME_MS
EXCERPT_S = 12
"""about the length of audio that the encoder was trained on; also the scope of the mean that is subtracted from its features"""
MARGIN_S = 0.5
"""context before and after an excerpt; the frames computed for it are dropped"""


@dataclass(frozen=True)
class Pooling:
    """The encoder's last step in numpy."""

    weight_E2C: NDArray[np.float32]
    bias_E: NDArray[np.float32]

    def __call__(
        self, sums_WC: NDArray[np.float64], squares_WC: NDArray[np.float64], count_W: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Embeddings [W, E] of length 1 of sums [W, C], sums of squares [W, C] and numbers [W] of frames."""
        count_W1 = count_W[:, None]
        mean_WC = sums_WC / count_W1
        variance_WC = np.maximum(0.0, squares_WC - count_W1 * mean_WC**2) / np.maximum(1.0, count_W1 - 1)
        pooled_W2C = np.concatenate([mean_WC, np.sqrt(variance_WC)], axis=1).astype(np.float32)
        rows_WE = pooled_W2C @ self.weight_E2C.T + self.bias_E
        return np.asarray(rows_WE / np.maximum(1e-9, np.linalg.norm(rows_WE, axis=1, keepdims=True)), np.float32)


@dataclass(frozen=True)
class VoiceTrack:
    """The encoder's frames, and their sums over blocks."""

    frames_UC: NDArray[np.float16]
    totals_NC: NDArray[np.float64]
    """cumulative sums of the frames at the edges of blocks: one row more than blocks"""
    squares_NC: NDArray[np.float64]
    """cumulative sums of their squares"""
    pool: Pooling

    @property
    def blocks(self) -> int:
        return len(self.totals_NC) - 1

    @property
    def dimension(self) -> int:
        """Number of values of an embedding."""
        return len(self.pool.bias_E)

    def embed(self, start_W: NDArray[np.int64], end_W: NDArray[np.int64]) -> NDArray[np.float32]:
        """Embeddings [W, E] of length 1 of the parts from block `start` to block `end`, of at least one block each."""
        return self.pool(
            self.totals_NC[end_W] - self.totals_NC[start_W],
            self.squares_NC[end_W] - self.squares_NC[start_W],
            (end_W - start_W).astype(np.float64) * BLOCK_FRAMES,
        )


@dataclass(frozen=True)
class VoiceEvidence:
    """What is known about the voices of a unit, for the stages that check its segments."""

    start_ms: int
    """of the track in the recording"""
    track: VoiceTrack
    embeddings: dict[str, NDArray[np.float32]]
    """embedding [E] of each speaker by label"""
    alone_N: NDArray[np.bool_]
    """blocks in which one person speaks"""
    second_voice_U: NDArray[np.float32]
    """probability that anyone but the speaker of a frame is heard"""


@torch.inference_mode()
def track_voices(encoder: CAMPlusPlus, pcm16k: NDArray[np.float32]) -> VoiceTrack:
    """The voice track of audio [n] in [−1, 1] at 16 kHz; of less than a block, an empty one. Memory is 60 kB per second."""
    device = encoder.project.weight.device
    excerpt, margin = EXCERPT_S * FRAMES_PER_SECOND, int(MARGIN_S * FRAMES_PER_SECOND)
    hop = ASR_RATE // FRAMES_PER_SECOND
    blocks = len(pcm16k) * 1000 // (ASR_RATE * BLOCK_MS)
    found = [np.zeros((0, encoder.channels), np.float16)]
    for start in range(0, blocks * BLOCK_MS * FRAMES_PER_SECOND // 1000, excerpt):
        first = max(0, start - margin)
        samples = pcm16k[first * hop : (start + excerpt + margin) * hop].copy()  # torch wants an array that may be written to
        features_TF = fbank(torch.from_numpy(samples).to(device))
        frames_CU = encoder.frames((features_TF - features_TF.mean(dim=0))[None])[0]
        kept_CU = frames_CU[:, (start - first) // 2 : (start - first + excerpt) // 2]
        found.append(kept_CU.T.cpu().numpy().astype(np.float16))
    frames_UC = np.concatenate(found)[: blocks * BLOCK_FRAMES]  # the encoder rounds up, so there are enough
    totals_NC, squares_NC = (np.zeros((blocks + 1, encoder.channels)) for _ in range(2))
    by_block = frames_UC.reshape(blocks, BLOCK_FRAMES, encoder.channels)
    np.cumsum(by_block.sum(axis=1, dtype=np.float64), axis=0, out=totals_NC[1:])
    np.cumsum(np.einsum("nfc,nfc->nc", by_block, by_block, dtype=np.float64), axis=0, out=squares_NC[1:])
    pool = Pooling(encoder.project.weight.detach().cpu().numpy(), encoder.project.bias.detach().cpu().numpy())
    return VoiceTrack(frames_UC, totals_NC, squares_NC, pool)
