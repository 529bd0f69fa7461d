"""Voice search: where the voice of a sound is in a release, by the embeddings and the threshold of its identities.

Shapes: S samples at 24 kHz, N voices, M of them of one person, D embedding values.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.speech_metrics import embed_speaker
from voxbeam.pipeline.steps.identify import read_voices
from voxbeam.safety.sounds import MIN_ENROLMENT_S
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import ConsentError
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.schemas.identity import IdentityRow, recording_of_voice
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import read_rows
from voxbeam.storage.store import Store
from voxbeam.transforms.identity.evidence import Evidence, find_calibration

MIN_NEAR = 0.02
"""probability from which a voice below the threshold is shown as a near one"""
MAX_NEAR, MAX_IDENTITIES = 10, 5
MAX_OWN = 64
"""voices of one person that others are compared with; of more, evenly spread ones"""


@dataclass(frozen=True, kw_only=True)
class HeardVoice:
    """A voice of a release, compared with a sound."""

    voice: str
    recording: str
    speaker: str
    identity: str | None
    similarity: float
    """cosine with the sound, without what all voices have in common"""
    probability: float
    """that both are one person, by the calibration of the release's identities"""
    by_identity: bool = False
    """whether not the voice itself but its identity as a whole reaches the threshold"""


@dataclass(frozen=True, kw_only=True)
class VoiceMatches:
    """The voices of a release that are that of a sound, and the next nearest, each the most similar first."""

    threshold: float
    matches: tuple[HeardVoice, ...]
    near: tuple[HeardVoice, ...]
    """below the threshold"""
    identities: tuple[tuple[str, float], ...] = ()
    """the most similar identities, whatever their similarity: the mean of their voices' with the sound"""


def embed_sound(wave_S: NDArray[np.float32]) -> NDArray[np.float32]:
    """The embedding [D] of a sound of one person. Raises ConsentError for less than five seconds."""
    if len(wave_S) < MIN_ENROLMENT_S * CODEC_RATE:
        raise ConsentError(
            f"{len(wave_S) / CODEC_RATE:.1f} s are too short to find a voice by", remedy=f"give {MIN_ENROLMENT_S:g} s of speech"
        )
    return embed_speaker(wave_S)


def find_voices(store: Store, release: Release, sound_D: NDArray[np.float32]) -> VoiceMatches:
    """Compares a sound of one person, by its embedding, with every voice of a release.

    A voice matches if it, or the mean of the voices of its identity, reaches the similarity from which the release's identities
    are joined. Raises ConsentError for voices that cannot be compared with a sound here.
    """
    parts = [file.path for file in release.files_of_kind("voices")]
    config = CorpusConfig.model_validate(release.config)
    if not parts:
        return VoiceMatches(threshold=1.0, matches=(), near=())
    voices, speakers, _ = read_voices(store, parts)
    if config.diarize.pipeline != "embedded" or voices.embedding_ND.shape[1] != len(sound_D):
        raise ConsentError(
            f"the voices of release {release.name} are of another encoder ({config.diarize.pipeline})",
            remedy="search by speaker or recording; only voices of the embedded diarizer can be compared with a sound",
        )
    calibration = find_calibration(config, len(sound_D))
    if calibration is None:
        raise ConsentError("there is no calibration for these voices", remedy="search by speaker or recording")
    evidence = Evidence(calibration, config.identify, len(voices))
    sound_D = calibration.center(sound_D[None].astype(np.float16))[0].astype(np.float32)
    embedding_ND = calibration.center(voices.embedding_ND).astype(np.float32)
    similarity_N = embedding_ND @ sound_D
    probability_N = evidence.probability(similarity_N.astype(np.float64))
    found = _heard(store, release, voices.keys, speakers, similarity_N, probability_N)
    weight_N = voices.weight_N * voices.audible_N
    means = _identity_means(found, weight_N, similarity_N)
    alike = {identity for identity, similarity in means.items() if similarity >= evidence.threshold}
    matches, near = [], []
    for one, audible in zip(found, voices.audible_N.tolist(), strict=True):
        if audible and one.similarity >= evidence.threshold:
            matches.append(one)
        elif one.identity in alike:
            matches.append(replace(one, by_identity=True))
        elif audible and one.probability >= MIN_NEAR:
            near.append(one)
    return VoiceMatches(
        threshold=round(evidence.threshold, 4),
        matches=tuple(sorted(matches, key=_nearest_first)),
        near=tuple(sorted(near, key=_nearest_first)[:MAX_NEAR]),
        identities=tuple(sorted(means.items(), key=lambda pair: (-pair[1], pair[0]))[:MAX_IDENTITIES]),
    )


def find_near(store: Store, release: Release, own: Collection[str], gone: Collection[str]) -> tuple[HeardVoice, ...]:
    """Voices of a release that may be the person of other voices of it, the most similar first: a person under two names.

    `own` are the voices of the person, `gone` recordings whose voices are left out. The most similar of the person's own counts.
    Empty where no own voice has an embedding, or where nothing is calibrated for them.
    """
    parts, config = [file.path for file in release.files_of_kind("voices")], CorpusConfig.model_validate(release.config)
    if not parts or not own:
        return ()
    voices, speakers, _ = read_voices(store, parts)
    calibration = find_calibration(config, voices.embedding_ND.shape[1])
    audible_N = voices.audible_N
    number = {key: at for at, key in enumerate(voices.keys)}
    own_M = [number[key] for key in sorted(own) if key in number and audible_N[number[key]]]
    if calibration is None or not own_M:
        return ()
    own_M = [own_M[at] for at in sorted({int(at) for at in np.linspace(0, len(own_M) - 1, MAX_OWN)})]
    embedding_ND = calibration.center(voices.embedding_ND).astype(np.float32)
    similarity_N = np.full(len(voices), -1.0, np.float32)
    for at in own_M:
        np.maximum(similarity_N, embedding_ND @ embedding_ND[at], out=similarity_N)
    evidence = Evidence(calibration, config.identify, len(voices))
    probability_N = evidence.probability(similarity_N.astype(np.float64))
    found = _heard(store, release, voices.keys, speakers, similarity_N, probability_N)
    near = [found[at] for at in np.flatnonzero(audible_N & (probability_N >= MIN_NEAR)).tolist()]
    near = [one for one in near if one.voice not in own and one.recording not in gone]
    return tuple(sorted(near, key=_nearest_first)[:MAX_NEAR])


def _heard(
    store: Store,
    release: Release,
    keys: Sequence[str],
    speakers: Sequence[str],
    similarity_N: NDArray[np.float32],
    probability_N: NDArray[np.float64],
) -> list[HeardVoice]:
    """Every voice of a release, with how similar it is to what is searched, in the order of `keys`."""
    identity_of = {voice: row.identity for row in read_rows(store, release, IdentityRow) for voice in row.voices}
    return [
        HeardVoice(
            voice=key, recording=recording_of_voice(key), speaker=speaker, identity=identity_of.get(key),
            similarity=round(float(similarity), 4), probability=round(float(probability), 4),
        )
        for key, speaker, similarity, probability in zip(keys, speakers, similarity_N, probability_N, strict=True)
    ]  # fmt: skip


def _nearest_first(voice: HeardVoice) -> tuple[float, str]:
    return -voice.similarity, voice.voice


def _identity_means(
    found: list[HeardVoice], weight_N: NDArray[np.float32], similarity_N: NDArray[np.float32]
) -> dict[str, float]:
    """Identity → mean similarity of its voices to the sound, weighted as identities are joined."""
    members: dict[str, list[int]] = defaultdict(list)
    for number, one in enumerate(found):
        if one.identity is not None and weight_N[number] > 0:
            members[one.identity].append(number)
    return {
        identity: round(float(weight_N[rows] @ similarity_N[rows] / weight_N[rows].sum()), 4)
        for identity, rows in members.items()
    }
