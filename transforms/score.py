"""Score: measures the signal quality of each accepted segment. The stage `filter` decides by these scores."""

from dataclasses import replace

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from voxbeam.models.dnsmos import dnsmos, open_model
from voxbeam.models.threads import pin_threads
from voxbeam.schemas.config import ScoreConfig
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE
from voxbeam.schemas.segment import Scores
from voxbeam.transforms.audio.signal_quality import (
    background_tonality,
    bandwidth_hz,
    clipping,
    dropouts,
    loops,
    loudness_lufs,
    snr_db,
)
from voxbeam.transforms.audio.word_edges import edge_jump, spectral_pace
from voxbeam.transforms.base import UnitStage, UnitState, once_per_process


@once_per_process
def load_dnsmos(device: str) -> onnxruntime.InferenceSession:
    """The DNSMOS model on 'cpu' or 'cuda'. Raises ModelError if the package or the device is missing."""
    pin_threads()
    return open_model(device)


def score(
    session: onnxruntime.InferenceSession,
    pcm16k_T: NDArray[np.float32],
    pcm24k_T: NDArray[np.float32],
    *,
    speech_ratio: float,
    repeated: float = 0.0,
    dnsmos_every: int = 1,
    dnsmos_near: tuple[float, float] | None = None,
) -> Scores:
    """Scores of one segment; all are finite.

    Args:
        session: from `load_dnsmos`.
        pcm16k_T: audio [T] in [−1, 1] at 16 kHz.
        pcm24k_T: the same at 24 kHz, for the bandwidth.
        speech_ratio: of the segment, as found by the stage `segment`.
        repeated: fraction of the segment in repeated packets, as found by the stage `decode`.
        dnsmos_every: score every n-th of DNSMOS's one-second hops.
        dnsmos_near: of these one first, and the others only if its overall quality lies between the two.

    Raises:
        ValueError: there are no samples, or a score is not finite.
    """
    pcm16k_T, pcm24k_T = (
        np.clip(np.nan_to_num(pcm, posinf=1.0, neginf=-1.0), -1, 1).astype(np.float32) for pcm in (pcm16k_T, pcm24k_T)
    )
    mos = dnsmos(session, pcm16k_T, dnsmos_every, dnsmos_near)
    scores = Scores(
        speech_ratio=speech_ratio,
        dnsmos_ovrl=mos.ovrl,
        dnsmos_sig=mos.sig,
        dnsmos_bak=mos.bak,
        snr_db=snr_db(pcm16k_T, ASR_RATE),
        bandwidth_hz=bandwidth_hz(pcm24k_T, CODEC_RATE),
        clipping=clipping(pcm16k_T),
        loudness_lufs=loudness_lufs(pcm16k_T, ASR_RATE),
        dropouts=min(1.0, dropouts(pcm16k_T, ASR_RATE) + repeated + loops(pcm16k_T, ASR_RATE)),
        background_tonality=background_tonality(pcm16k_T, ASR_RATE),
        edge_jump=edge_jump(pcm16k_T, ASR_RATE),
        spectral_pace=spectral_pace(pcm16k_T, ASR_RATE),
        dnsmos_windows=mos.windows,
    )
    wrong = [name for name, value in vars(scores).items() if value is not None and not np.isfinite(value)]
    if wrong:
        raise ValueError(f"the scores {wrong} are not finite; check the audio and the DNSMOS model")
    return scores


class Score(UnitStage):
    """Fills `scores` of the accepted segments of a unit."""

    name = "score"

    def __init__(self, config: ScoreConfig, device: str) -> None:
        super().__init__()
        self.config, self.device = config, device

    def run(self, state: UnitState) -> UnitState:
        if not any(segment.accepted for segment in state.segments):
            return state
        session, audio = load_dnsmos(self.device), state.require_audio()
        segments = tuple(
            replace(
                segment,
                scores=score(
                    session,
                    audio.slice16k(segment.start_ms, segment.end_ms),
                    audio.slice24k(segment.start_ms, segment.end_ms),
                    speech_ratio=segment.speech_ratio,
                    repeated=audio.repeated(segment.start_ms, segment.end_ms),
                    dnsmos_every=self.config.dnsmos_every,
                    dnsmos_near=self.config.dnsmos_near,
                ),
            )
            if segment.accepted
            else segment
            for segment in state.segments
        )
        return replace(state, segments=segments)
