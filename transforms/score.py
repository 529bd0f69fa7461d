"""Score: how each accepted segment sounds. Nothing is decided here; `filter` does that."""

from dataclasses import replace

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from voxbeam.models.dnsmos import dnsmos, open_model
from voxbeam.models.threads import pin_threads
from voxbeam.schemas.config import ScoreConfig
from voxbeam.schemas.segment import Scores
from voxbeam.transforms.audio.signal_quality import bandwidth_hz, clipping, loudness_lufs, snr_db
from voxbeam.transforms.base import UnitStage, UnitWork, once_per_process


@once_per_process
def load_dnsmos(device: str) -> onnxruntime.InferenceSession:
    """The DNSMOS model on 'cpu' or 'cuda'. Raises StageError where package or device is missing."""
    pin_threads()
    return open_model(device)


def score(
    session: onnxruntime.InferenceSession,
    pcm16k_T: NDArray[np.float32],
    pcm24k_T: NDArray[np.float32],
    *,
    speech_ratio: float,
    dnsmos_every: int = 1,
) -> Scores:
    """Scores of one segment from its waveforms [T] in [−1, 1] at 16 and 24 kHz; all finite. Raises ValueError for no samples."""
    pcm16k_T, pcm24k_T = (
        np.clip(np.nan_to_num(pcm, posinf=1.0, neginf=-1.0), -1, 1).astype(np.float32) for pcm in (pcm16k_T, pcm24k_T)
    )
    mos = dnsmos(session, pcm16k_T, dnsmos_every)
    scores = Scores(
        speech_ratio=speech_ratio,
        dnsmos_ovrl=mos.ovrl,
        dnsmos_sig=mos.sig,
        dnsmos_bak=mos.bak,
        snr_db=snr_db(pcm16k_T, 16_000),
        bandwidth_hz=bandwidth_hz(pcm24k_T, 24_000),
        clipping=clipping(pcm16k_T),
        loudness_lufs=loudness_lufs(pcm16k_T, 16_000),
    )
    wrong = [name for name, value in vars(scores).items() if not np.isfinite(value)]
    if wrong:
        raise ValueError(f"{wrong} came out as not a number; the audio or the DNSMOS model is damaged")
    return scores


class Score(UnitStage):
    """Fills `scores` of the accepted segments of a unit; rejected ones stay as they are."""

    name = "score"

    def __init__(self, config: ScoreConfig, device: str) -> None:
        super().__init__()
        self.config, self.device = config, device

    def run(self, work: UnitWork) -> UnitWork:
        if not any(segment.accepted for segment in work.segments):
            return work
        session = load_dnsmos(self.device)
        segments = tuple(
            replace(
                segment,
                scores=score(
                    session,
                    work.sound.slice16k(segment.start_ms, segment.end_ms),
                    work.sound.slice24k(segment.start_ms, segment.end_ms),
                    speech_ratio=segment.speech_ratio,
                    dnsmos_every=self.config.dnsmos_every,
                ),
            )
            if segment.accepted
            else segment
            for segment in work.segments
        )
        return replace(work, segments=segments)
