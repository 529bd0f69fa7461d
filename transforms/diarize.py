"""Diarize: who speaks when in a unit, where a second voice is heard, and an embedding of each speaker."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from voxbeam.models.campplus import CAMPlusPlus, load_campplus
from voxbeam.models.oom import empty_cuda_cache, is_out_of_memory
from voxbeam.models.second_voice import SecondVoice, hear_second_voice, load_second_voice
from voxbeam.models.speech_activity import MOMENT_MS, SpeechActivity, find_activity, with_turns
from voxbeam.models.voice_track import BLOCK_FRAMES, BLOCK_MS, FRAME_MS, VoiceEvidence, VoiceTrack, track_voices
from voxbeam.schemas.config import DiarizeConfig
from voxbeam.schemas.errors import ModelError
from voxbeam.schemas.formats import ASR_RATE, ASR_SAMPLES_PER_MS
from voxbeam.schemas.segment import LocalSpeaker, Turn
from voxbeam.storage.store_errors import summarize_error
from voxbeam.transforms.audio.pauses import HOP_MS, frame_levels_db, pause_mask, true_runs
from voxbeam.transforms.base import UnitStage, UnitState, once_per_process
from voxbeam.transforms.voice_times import MIXED_MS, mixed_times, moments_in, nearest_voice, second_nearest_voice, turns_of
from voxbeam.transforms.voices import Voices, find_voices

log = logging.getLogger(__name__)
MIN_SPEAKER_MS = 200
"""a speaker with less speech than this in the unit is a click or the onset of noise, and is dropped"""
SILENCE_PEAK = 1e-4
"""audio that stays below −80 dBFS is silence; the models normalize their input and would find speakers in it"""
SPEECH, OVERLAP = 0.4, 0.2
"""probabilities from which a moment counts as speech, and from which it is not surely that of one person"""
CLEAR, CLEAR_SHARE = 0.7, 0.025
"""a second voice is clear from this probability; where this fraction of the frames has one, the unit is a conversation"""
TALKER_MS = 3000
"""so it is where two people talk for this long"""
LONE_LIMIT, LONE_MS = 0.9, 160
"""in other units, such as readings, a second voice is so rare that it takes this probability, for so long, to count"""
SUPPORT, SUPPORT_FRAMES = 0.02, 11
"""and the segmentation model must not be sure that nobody else speaks: it gives so much to two voices or to another one, within
so many frames around"""
UNNAMED = "other"
"""speaker of the turns beside another one where two talk at once, but only one voice of the unit is known"""
DIP_MS = 30
"""a pause as short as this makes a change of voice likelier"""


@dataclass(frozen=True)
class Diarizer:
    """The models of the stage."""

    segmentation: Any
    """pyannote's segmentation model"""
    pipeline: Any | None
    """a whole pyannote pipeline, if the configuration names one"""
    encoder: CAMPlusPlus
    second_voice: SecondVoice


@dataclass(frozen=True)
class Hearing:
    """Who speaks in each block of 100 ms, before second voices are looked for."""

    track: VoiceTrack
    activity: SpeechActivity
    alone_N: NDArray[np.bool_]
    """blocks in which one person speaks"""
    voices: Voices
    voice_N: NDArray[np.int64]
    """voice of each block, of the nearest one where nobody speaks alone"""

    @property
    def voice_U(self) -> NDArray[np.int64]:
        """Voice of each frame of the track."""
        return np.repeat(self.voice_N, BLOCK_FRAMES)


@dataclass(frozen=True)
class Diarization:
    """What the stage finds out."""

    turns: tuple[Turn, ...] = ()
    """in order of time, one speaker at a time"""
    speakers: tuple[LocalSpeaker, ...] = ()
    """v1, v2, … in order of amount of speech"""
    beside: tuple[Turn, ...] = ()
    """turns of a second speaker at the same time as one of `turns`, in order of time: to show or score a diarization. Who that is
    may be unknown: `UNNAMED`, who is none of `speakers`"""
    mixed: tuple[tuple[int, int], ...] = ()
    """start and end in ms of the times in which anyone but the turn's speaker is heard"""
    evidence: VoiceEvidence | None = None


def diarize(diarizer: Diarizer, pcm16k: NDArray[np.float32], start_ms: int, config: DiarizeConfig) -> Diarization:
    """Turns, speakers and mixed times of a stretch of audio; nothing for silence.

    Args:
        diarizer: from `load_diarizer`.
        pcm16k: audio [n] in [−1, 1] at 16 kHz.
        start_ms: time of its first sample in the recording. All times of the result are in ms from the start of the recording.
        config: thresholds.
    """
    if len(pcm16k) < BLOCK_MS * ASR_SAMPLES_PER_MS or float(np.abs(pcm16k).max()) < SILENCE_PEAK:
        return Diarization()
    heard = listen(diarizer, pcm16k, config)
    voices, voice_N, activity = heard.voices, heard.voice_N, heard.activity
    if not len(voices.embeddings_KE):
        return Diarization()
    second_U = hear_second_voice(diarizer.second_voice, heard.track, activity, heard.voice_U, voices.embeddings_KE)
    supported_U = np.where(_is_supported(activity, len(second_U)), second_U, np.float32(0))
    if _is_conversation(voices, second_U, supported_U):
        mixed = mixed_times(second_U, config.max_second_voice, MIXED_MS)
    else:
        mixed = mixed_times(supported_U, LONE_LIMIT, LONE_MS)
        # what is too short to be cut out is no reason to reject a whole segment either
        second_U = np.minimum(supported_U, np.float32(LONE_LIMIT))
    spoken = turns_of(activity.speech_T > SPEECH, voice_N, len(pcm16k) // ASR_SAMPLES_PER_MS)
    speakers = _rank_speakers(spoken, voices)
    labels = {voice: speaker.label for voice, speaker in speakers}
    other_N, unnamed = second_nearest_voice(voices.voice_N, voice_N), len(voices.embeddings_KE)
    overlap_T = activity.overlap_T > SPEECH
    if other_N.max() < 0:  # an unknown voice counts where the detector hears it as well
        other_N, overlap_T = np.full_like(other_N, unnamed), overlap_T & moments_in(mixed, len(overlap_T))
    beside = turns_of(overlap_T, other_N, len(pcm16k) // ASR_SAMPLES_PER_MS)
    turns, beside_turns = (
        tuple(
            Turn(start_ms=start_ms + start, end_ms=start_ms + end, speaker=names[voice])
            for start, end, voice in found
            if voice in names
        )
        for found, names in ((spoken, labels), (beside, {**labels, unnamed: UNNAMED}))
    )
    evidence = VoiceEvidence(
        start_ms, heard.track, {s.label: voices.embeddings_KE[v] for v, s in speakers}, heard.alone_N, second_U
    )
    shifted = tuple((start_ms + start, start_ms + end) for start, end in mixed)
    return Diarization(turns, tuple(speaker for _, speaker in speakers), beside_turns, shifted, evidence)


def listen(diarizer: Diarizer, pcm16k: NDArray[np.float32], config: DiarizeConfig) -> Hearing:
    """Speech activity and voices of audio [n] of at least a block; the voices may be none."""
    track = track_voices(diarizer.encoder, pcm16k)
    activity, labels_N = _find_activity(diarizer, pcm16k, track.blocks, config.batch)
    alone_N = _most((activity.speech_T > SPEECH) & (activity.overlap_T <= OVERLAP), track.blocks)
    voices = find_voices(track, alone_N, _pause_blocks(pcm16k, track.blocks), config.threshold, labels_N)
    return Hearing(track, activity, alone_N, voices, nearest_voice(voices.voice_N))


@once_per_process
def load_diarizer(config: DiarizeConfig, device: Literal["cpu", "cuda"] = "cpu") -> Diarizer:
    """The models of the configuration. Raises ModelError if they cannot be loaded."""
    # pyannote logs every load.
    logging.getLogger("pyannote").setLevel(logging.ERROR)
    # Imported here because it imports Lightning: seconds that a build without model work need not spend.
    from voxbeam.models.pyannote_models import load_segmentation

    pipeline = None
    if config.pipeline != "embedded":
        pipeline = _load_custom_pipeline(config.pipeline, config.batch).to(torch.device(device))
    return Diarizer(load_segmentation().to(device), pipeline, load_campplus().to(device), load_second_voice())


class Diarize(UnitStage):
    """Fills `turns`, `speakers`, `mixed` and `voices`."""

    name = "diarize"

    def __init__(self, config: DiarizeConfig, device: Literal["cpu", "cuda"] = "cpu") -> None:
        super().__init__()
        self.config, self.device = config, device

    def run(self, state: UnitState) -> UnitState:
        diarizer, audio = load_diarizer(self.config, self.device), state.require_audio()
        found = diarize(diarizer, audio.pcm16k, audio.start_ms, self.config)
        return replace(state, turns=found.turns, speakers=found.speakers, mixed=found.mixed, voices=found.evidence)


def _find_activity(
    diarizer: Diarizer, pcm16k: NDArray[np.float32], blocks: int, batch: int
) -> tuple[SpeechActivity, NDArray[np.int64] | None]:
    """Speech activity, and the voice of each block if a whole pipeline names it."""
    activity = find_activity(diarizer.segmentation, pcm16k, batch)
    if diarizer.pipeline is None:
        return activity, None
    waveform = torch.from_numpy(np.ascontiguousarray(pcm16k, np.float32))[None]
    length = len(pcm16k) // ASR_SAMPLES_PER_MS
    with warnings.catch_warnings():
        # pyannote warns that it turns TF32 off, and when it takes statistics of single frames; both are intended.
        warnings.simplefilter("ignore")
        output = _run_pipeline(diarizer.pipeline, {"waveform": waveform, "sample_rate": ASR_RATE, "uri": "unit"})
    annotation = getattr(output, "speaker_diarization", output)
    turns = []
    for segment, _, label in annotation.itertracks(yield_label=True):
        start, end = max(0, round(segment.start * 1000)), min(length, round(segment.end * 1000))
        if end > start:
            turns.append(Turn(start_ms=start, end_ms=end, speaker=str(label)))
    activity = with_turns(activity, turns)
    labels_N = np.full(blocks, -1)
    for number, (_, group) in enumerate(groupby(sorted(turns, key=attrgetter("speaker")), attrgetter("speaker"))):
        for turn in group:
            labels_N[turn.start_ms // BLOCK_MS : -(-turn.end_ms // BLOCK_MS)] = number
    labels_N[~_most(activity.overlap_T <= OVERLAP, blocks)] = -1
    return activity, labels_N


def _load_custom_pipeline(name: str, batch: int) -> Any:
    from voxbeam.models.pyannote_models import load_pipeline

    cause: Exception | None = None
    try:
        pipeline: Any = load_pipeline(name)
        if hasattr(pipeline, "segmentation_batch_size"):
            pipeline.segmentation_batch_size = pipeline.embedding_batch_size = batch
            return pipeline
    except ModelError:
        raise
    except Exception as error:  # pyannote, the hub client and torch raise types of their own
        cause = error
    raise ModelError(
        f"{name} is not a pyannote speaker diarization pipeline" + (f" that can be loaded: {cause}" if cause else ""),
        remedy="set diarize.pipeline to a path, bucket address or hub name (a gated one needs its terms accepted and HF_TOKEN), "
        "or to 'embedded'",
    ) from cause


def _run_pipeline(pipeline: Any, file: dict[str, Any]) -> Any:
    """Runs a pyannote pipeline on a file; again from the start with half the batch size while memory runs out."""
    sizes = pipeline.segmentation_batch_size, pipeline.embedding_batch_size
    try:
        while True:
            try:
                return pipeline(file)
            except Exception as error:
                if pipeline.segmentation_batch_size == 1 or not is_out_of_memory(error):
                    raise
                half = pipeline.segmentation_batch_size // 2
                log.warning("out of memory; diarizing again with batches of %d: %s", half, summarize_error(error))
            empty_cuda_cache()
            pipeline.segmentation_batch_size = pipeline.embedding_batch_size = half
    finally:  # the next unit starts with the full size again
        pipeline.segmentation_batch_size, pipeline.embedding_batch_size = sizes


def _most(mask_T: NDArray[np.bool_], blocks: int) -> NDArray[np.bool_]:
    """Blocks [blocks] in which at least half of the moments are true."""
    per_block = BLOCK_MS // MOMENT_MS
    filled = np.zeros(blocks * per_block, np.bool_)
    filled[: len(mask_T)] = mask_T[: len(filled)]
    return np.asarray(filled.reshape(blocks, per_block).sum(axis=1) * 2 >= per_block)


def _pause_blocks(pcm16k: NDArray[np.float32], blocks: int) -> NDArray[np.bool_]:
    """Blocks with a pause of at least a dip's length less than 100 ms from their start."""
    runs = true_runs(pause_mask(frame_levels_db(pcm16k, ASR_RATE)))
    near = np.zeros(blocks + 2, np.bool_)
    for start, end in (runs[(runs[:, 1] - runs[:, 0]) * HOP_MS >= DIP_MS] * HOP_MS).tolist():
        near[start // BLOCK_MS : end // BLOCK_MS + 2] = True
    return near[:blocks]


def _is_conversation(voices: Voices, second_U: NDArray[np.float32], supported_U: NDArray[np.float32]) -> bool:
    """Whether more than one person clearly talks in a unit.

    A second voice that the segmentation model mostly excludes makes no conversation: the detector hears one all through some
    readings.
    """
    spoken_K = np.bincount(voices.voice_N[voices.voice_N >= 0], minlength=len(voices.embeddings_KE)) * BLOCK_MS
    clear, agreed = (second_U > CLEAR).mean(), (supported_U > CLEAR).mean()
    return bool((spoken_K >= TALKER_MS).sum() > 1 or (clear > CLEAR_SHARE and agreed > clear / 2))


def _is_supported(activity: SpeechActivity, frames: int) -> NDArray[np.bool_]:
    """Frames [frames] near which the segmentation model does not exclude a second voice."""
    per_frame = FRAME_MS // MOMENT_MS
    found_U = np.zeros(frames, np.bool_)
    seen = np.maximum(activity.overlap_T, activity.other_T)[::per_frame][:frames] > SUPPORT
    found_U[: len(seen)] = seen
    return np.asarray(np.convolve(found_U, np.ones(SUPPORT_FRAMES), "same") > 0)


def _rank_speakers(spoken: Sequence[tuple[int, int, int]], voices: Voices) -> list[tuple[int, LocalSpeaker]]:
    """(voice, speaker) of every voice with enough speech, most speech first."""
    total: dict[int, int] = {}
    for start, end, voice in spoken:
        total[voice] = total.get(voice, 0) + end - start
    ranked = sorted((v for v, ms in total.items() if ms >= MIN_SPEAKER_MS), key=lambda v: (-total[v], v))
    found = []
    for number, voice in enumerate(ranked, 1):
        embedding = tuple(voices.embeddings_KE[voice].astype(np.float64).tolist())
        found.append((voice, LocalSpeaker(label=f"v{number}", embedding=embedding, speech_ms=total[voice])))
    return found
