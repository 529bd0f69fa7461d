"""Evidence: how much a similarity says that two voices are one person, as calibrated, and what follows for a whole corpus.

Similarities of voices of one person, and of two, are taken to be normally distributed; that of two as its upper tail is. The
odds that two voices are one person are the ratio of the two densities, times the odds before hearing them. Those fall with the
size of the corpus: among n voices, one given other voice is the same person's with odds of about 1 : n. So the similarity from
which voices are joined grows with the corpus. n is rounded up to a power of ten, so that it changes rarely.

tools/calibrate_identity.py makes a calibration. Shapes: N voices, D embedding values.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from voxbeam import assets
from voxbeam.schemas.config import CorpusConfig, IdentifyConfig
from voxbeam.schemas.errors import ConfigError
from voxbeam.storage.bounded_json import parse_object
from voxbeam.storage.store import Store

_LEAST_VOICES = 100
_CHUNK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Distributions of the similarity of two voices."""

    same_mean: float
    same_deviation: float
    different_mean: float
    different_deviation: float

    def log_ratio(self, similarity: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logarithm of the densities' ratio, one person to two."""
        same = (similarity - self.same_mean) / self.same_deviation
        different = (similarity - self.different_mean) / self.different_deviation
        return np.asarray((different**2 - same**2) / 2 + math.log(self.different_deviation / self.same_deviation))


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What is known of an encoder."""

    about: str
    """encoder, speech, and the command that made it"""
    center_D: NDArray[np.float64]
    """mean of many voices, which is taken off before voices are compared: it is what all have in common"""
    scores: Scores
    draws: tuple[Scores, ...]
    """the same of speakers drawn again, which shows how sure `scores` is"""
    min_named_similarity: float
    """voices of one listed name that are less similar than this are clearly different"""

    def center(self, embedding_ND: NDArray[np.float16]) -> NDArray[np.float16]:
        """Embeddings without what all voices have in common, of length 1; zeros stay zeros."""
        centered = np.zeros_like(embedding_ND)
        for start in range(0, len(embedding_ND), _CHUNK):
            rows = embedding_ND[start : start + _CHUNK].astype(np.float32)
            heard = rows.any(axis=1)
            rows = rows[heard] - self.center_D.astype(np.float32)
            rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
            centered[start : start + _CHUNK][heard] = rows
        return centered

    def to_json(self) -> dict[str, Any]:
        return {
            "about": self.about,
            "center": np.round(self.center_D, 5).tolist(),
            "scores": asdict(self.scores),
            "draws": [asdict(draw) for draw in self.draws],
            "min_named_similarity": self.min_named_similarity,
        }

    @classmethod
    def from_json(cls, content: bytes, where: str) -> Self:
        """Raises ConfigError, naming the file, for what is no calibration."""
        try:
            tree = parse_object(content)
            calibration = cls(
                about=str(tree["about"]),
                center_D=np.asarray(tree["center"], np.float64),
                scores=Scores(**tree["scores"]),
                draws=tuple(Scores(**draw) for draw in tree["draws"]),
                min_named_similarity=float(tree["min_named_similarity"]),
            )
            if calibration.center_D.ndim != 1 or not np.isfinite(calibration.center_D).all() or not calibration.draws:
                raise ValueError("center or draws are missing")
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"{where} is no calibration of identities: {error}", remedy="make one: tools/calibrate_identity.py"
            ) from error
        return calibration


_ANY = Scores(same_mean=1.0, same_deviation=1.0, different_mean=0.0, different_deviation=1.0)
NAMES_ONLY = Calibration(
    about="for voices that are not compared", center_D=np.zeros(0), scores=_ANY, draws=(_ANY,), min_named_similarity=-1.0
)


def read_calibrations(config: CorpusConfig) -> list[tuple[Calibration, bytes]]:
    """The calibrations that a configuration allows, with their files' bytes: one that it names, else the embedded encoder's.

    Raises ConfigError for a named one that does not exist or is no calibration.
    """
    named = config.identify.calibration
    if named is None:
        contents = {path.name: path.read_bytes() for path in sorted(Path(assets.IDENTITY).glob("*.json"))}
    else:
        folder, _, name = named.rpartition("/")
        try:
            contents = {named: Store(folder or ".").get(name)}
        except FileNotFoundError as error:
            raise ConfigError(f"there is no calibration at {named}") from error
    return [(Calibration.from_json(content, where), content) for where, content in contents.items()]


def find_calibration(config: CorpusConfig, width: int) -> Calibration | None:
    """The calibration for embeddings of this width; None if only listed names can join voices.

    Raises ConfigError for a named one of another width.
    """
    found = [calibration for calibration, _ in read_calibrations(config)]
    fitting = [calibration for calibration in found if len(calibration.center_D) == width]
    if found and not fitting and config.identify.calibration is not None:
        raise ConfigError(f"{config.identify.calibration} is for {len(found[0].center_D)} values, the embeddings have {width}")
    return fitting[0] if fitting else None


def rounded_up(voices: int) -> int:
    """The number of voices, rounded up to a power of ten from 100 on."""
    return 10 ** math.ceil(math.log10(max(voices, _LEAST_VOICES)))


@dataclass(frozen=True)
class Evidence:
    """A calibration, applied to a corpus of `voices` voices."""

    calibration: Calibration
    config: IdentifyConfig
    voices: int

    @property
    def threshold(self) -> float:
        """Groups of voices with at least this mean similarity are joined."""
        if self.config.min_similarity is not None:
            return self.config.min_similarity
        odds = math.log(self.config.min_probability / (1 - self.config.min_probability) * rounded_up(self.voices))
        grid = np.linspace(self.calibration.scores.different_mean, 1.0, 10_001)
        enough = np.flatnonzero(self.calibration.scores.log_ratio(grid) >= odds)
        return float(grid[enough[0]]) if len(enough) else 1.0

    @property
    def min_named_similarity(self) -> float:
        """Voices of one listed name that are less similar are kept apart."""
        named = self.config.min_named_similarity
        return self.calibration.min_named_similarity if named is None else named

    def probability(
        self,
        similarity: NDArray[np.float64],
        *,
        listed: NDArray[np.bool_] | bool = False,
        scores: Scores | None = None,
        odds: float | None = None,
    ) -> NDArray[np.float64]:
        """Probability that voices of a similarity are one person, by the calibration or by other `scores`.

        `odds` are those before they are heard, by default one in all voices; even where they have the same `listed` name.
        """
        logit = (scores or self.calibration.scores).log_ratio(similarity)
        logit = logit + np.where(listed, 0.0, math.log(1 / rounded_up(self.voices) if odds is None else odds))
        return np.asarray(1 / (1 + np.exp(-np.clip(logit, -500, 500))))
