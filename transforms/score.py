"""Score: measures the signal quality of each segment. The stage `filter` decides by these scores.

Of a segment that was not cut well, only the damage is measured: in clipped or broken speech the diarizer hears voices that are
not there, and the policy names the cause beside them. Noise and rooms are not: where two people speak, those scores are low too.
"""

from dataclasses import replace

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from voxbeam.models.dnsmos import dnsmos, open_model
from voxbeam.models.threads import pin_threads
from voxbeam.safety.codec_trace import trace_of
from voxbeam.schemas.audio import Audio
from voxbeam.schemas.config import ScoreConfig
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE
from voxbeam.schemas.segment import Scores, Segment
from voxbeam.transforms.audio.noise_and_clipping import clipping, snr_db
from voxbeam.transforms.audio.signal_quality import background_tonality, bandwidth_hz, dropouts, loops, loudness_lufs
from voxbeam.transforms.audio.word_edges import edge_jump, spectral_pace
from voxbeam.transforms.base import UnitStage, UnitState, once_per_process

TRACE_WINDOWS = 2
"""windows of 4 s of a segment that are asked for the trace of the codec"""


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
    codec_trace: bool = False,
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
        codec_trace: listen for the trace of the embedded codec.

    Raises:
        ValueError: there are no samples, or a score is not finite.
    """
    pcm16k_T, pcm24k_T = (
        np.clip(np.nan_to_num(pcm, posinf=1.0, neginf=-1.0), -1, 1).astype(np.float32) for pcm in (pcm16k_T, pcm24k_T)
    )
    mos = dnsmos(session, pcm16k_T, dnsmos_every, dnsmos_near)
    scores = replace(
        damage(pcm16k_T, speech_ratio=speech_ratio, repeated=repeated),
        dnsmos_ovrl=mos.ovrl,
        dnsmos_sig=mos.sig,
        dnsmos_bak=mos.bak,
        snr_db=snr_db(pcm16k_T, ASR_RATE),
        bandwidth_hz=bandwidth_hz(pcm24k_T, CODEC_RATE),
        background_tonality=background_tonality(pcm16k_T, ASR_RATE),
        edge_jump=edge_jump(pcm16k_T, ASR_RATE),
        spectral_pace=spectral_pace(pcm16k_T, ASR_RATE),
        codec_trace=trace_of(pcm16k_T, TRACE_WINDOWS) if codec_trace else None,
        dnsmos_windows=mos.windows,
    )
    wrong = [name for name, value in vars(scores).items() if value is not None and not np.isfinite(value)]
    if wrong:
        raise ValueError(f"the scores {wrong} are not finite; check the audio and the DNSMOS model")
    return scores


def damage(pcm16k_T: NDArray[np.float32], *, speech_ratio: float, repeated: float = 0.0) -> Scores:
    """The scores of one segment that a second voice does not change; arguments as of `score`."""
    pcm16k_T = np.clip(np.nan_to_num(pcm16k_T, posinf=1.0, neginf=-1.0), -1, 1).astype(np.float32)
    return Scores(
        speech_ratio=speech_ratio,
        clipping=clipping(pcm16k_T),
        loudness_lufs=loudness_lufs(pcm16k_T, ASR_RATE),
        dropouts=min(1.0, dropouts(pcm16k_T, ASR_RATE) + repeated + loops(pcm16k_T, ASR_RATE)),
    )


class Score(UnitStage):
    """Fills `scores` of the segments of a unit."""

    name = "score"

    def __init__(self, config: ScoreConfig, device: str) -> None:
        super().__init__()
        self.config, self.device = config, device

    def run(self, state: UnitState) -> UnitState:
        if not state.segments:
            return state
        return replace(state, segments=tuple(self._scored(state.require_audio(), segment) for segment in state.segments))

    def _scored(self, audio: Audio, segment: Segment) -> Segment:
        pcm16k_T = audio.slice16k(segment.start_ms, segment.end_ms)
        repeated = audio.repeated(segment.start_ms, segment.end_ms)
        if not segment.accepted:
            return replace(segment, scores=damage(pcm16k_T, speech_ratio=segment.speech_ratio, repeated=repeated))
        scores = score(
            load_dnsmos(self.device),
            pcm16k_T,
            audio.slice24k(segment.start_ms, segment.end_ms),
            speech_ratio=segment.speech_ratio,
            repeated=repeated,
            dnsmos_every=self.config.dnsmos_every,
            dnsmos_near=self.config.dnsmos_near,
            codec_trace=self.config.codec_trace,
        )
        return replace(segment, scores=scores)
