"""Channels: how the two channels of a recording relate, and so which of them make its sound. Runs inside the sandbox.

The mean of two channels is right for a scene that two microphones record. It is wrong for channels in anti-phase, which cancel;
beside a silent channel, which halves the level; beside the same sound later, which makes an echo; and for a call with one party
per channel, where it makes people talk at once.

A channel is left out only if nobody speaks in it who is hardly heard in the other one.
"""

from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxbeam.transforms.audio.channel_delay import DelayMeter

MONO, MEAN, TWIN, INVERTED, ONE_SILENT, SEPARATE = "mono", "mean", "twin", "inverted", "one_silent", "separate"
DELAYED = "delayed"
POLICIES = (MONO, MEAN, TWIN, INVERTED, ONE_SILENT, DELAYED, SEPARATE)

_BLOCK_S = 0.05
_TWIN = 0.9999
_INVERTED = -0.3
"""correlation below which the mean is quieter than half of one channel"""
_SILENT_DB = 30.0
"""a channel is silent if it is this much below the other one over the whole recording"""
_ACTIVE_DB = 25.0
"""a channel is active within this of its loud blocks (95th percentile)"""
_ALONE_DB = 12.0
"""a channel is alone if it is this much louder than the other, both relative to their own loud blocks"""
_MIN_ALONE = 0.1
_MIN_SEPARATE = 0.6
_MAX_COHERENCE = 0.3
_MIN_ACTIVE_BLOCKS = 100
_FLOOR = 1e-10
_SMOOTH_BLOCKS = 10
_ONLY_THERE_DB = 10.0
"""somebody speaks in one channel alone where it is this much louder beside the other one than over the whole recording"""
_SPEAKS_DB = 15.0
"""and no further below its own loud blocks"""
_OVER_NOISE_DB = 10.0
"""and this much above its own quiet ones: the noise of a channel is loud beside the pauses of the other one"""
_MIN_ONLY_THERE = 0.005
_MIN_ONLY_THERE_BLOCKS = 20
BLEED_DB = 12.0
"""where the other channel is this much louder, a channel has nothing but what the other one bleeds into it"""
_GATE_DB = -40.0
_GATE_MS = 20


@dataclass(frozen=True)
class Policy:
    """Which channels make the sound of a recording."""

    name: str
    """`mono`, `mean`, `twin` (both the same), `inverted`, `one_silent`, `delayed`, or `separate` (one party per channel)"""
    channel: int | None = None
    """the only one that is used; None for the mean, and for `separate`, where each is a track"""


class ChannelMeter:
    """Sums of squares and products of two channels, in blocks of about 50 ms, while a file is decoded once."""

    def __init__(self, rate: int) -> None:
        self._block = max(1, round(rate * _BLOCK_S))
        self._sums: array[float] = array("d")
        self._open = np.zeros(3)
        self._samples = 0
        self._delay = DelayMeter(rate)

    def add(self, sound: NDArray[np.generic]) -> None:
        """Adds samples [2, n], as floats or integers."""
        scale = 1.0 if sound.dtype.kind == "f" else float(-np.iinfo(sound.dtype).min or 128)  # type: ignore[type-var]
        offset = 128 if sound.dtype == np.uint8 else 0
        x = (sound.astype(np.float64) - offset) / scale
        x -= x.mean(axis=1, keepdims=True)
        self._delay.add(x)
        for start in range(0, x.shape[1], self._block):
            left, right = x[:, start : start + self._block]
            self._open += (left @ left, right @ right, left @ right)
            self._samples += len(left)
            if self._samples >= self._block:
                self._sums.extend((self._open / self._samples).tolist())
                self._open, self._samples = np.zeros(3), 0

    def policy(self) -> Policy:
        """What the whole recording shows."""
        blocks = np.array(self._sums).reshape(-1, 3)
        blocks = blocks[np.isfinite(blocks).all(axis=1)]
        left, right, product = blocks.sum(axis=0) if len(blocks) else np.zeros(3)
        louder = int(right > left)
        if max(left, right) <= _FLOOR:
            return Policy(MEAN)
        silent = min(left, right) < max(left, right) * 10 ** (-_SILENT_DB / 10)
        if silent and not _speaks_only_there(blocks, 1 - louder):
            return Policy(ONE_SILENT, louder)
        coherence = product / np.sqrt(left * right)
        cancels = left + right + 2 * product < max(left, right) / 2
        if coherence < _INVERTED and (cancels or not _speaks_only_there(blocks, 1 - louder)):
            return Policy(INVERTED, louder)
        if coherence > _TWIN and abs(left - right) < 1e-3 * left:
            return Policy(TWIN)
        if (delay_s := self._delay.delay_s()) is not None:
            earlier = int(delay_s < 0)
            if not _speaks_only_there(blocks, 1 - earlier, abs(delay_s)):
                return Policy(DELAYED, earlier)
        return Policy(SEPARATE) if coherence < _MAX_COHERENCE and _alternate(blocks[:, :2]) else Policy(MEAN)


def _speaks_only_there(blocks: NDArray[np.float64], channel: int, delay_s: float = 0.0) -> bool:
    """Whether somebody speaks in a channel who is hardly heard in the other one, which it hears `delay_s` later."""
    shift = round(delay_s / _BLOCK_S)
    there, other = blocks[shift:, channel], blocks[: len(blocks) - shift, 1 - channel]
    if len(there) < _MIN_ACTIVE_BLOCKS:
        return False
    window = np.ones(_SMOOTH_BLOCKS) / _SMOOTH_BLOCKS
    level_there, level_other = (10 * np.log10(np.maximum(np.convolve(x, window, "valid"), _FLOOR)) for x in (there, other))
    usual = 10 * np.log10(max(there.sum(), _FLOOR) / max(other.sum(), _FLOOR))
    quiet, loud = np.percentile(level_there, [10, 95])
    only_there = (
        (level_there - level_other > usual + _ONLY_THERE_DB)
        & (level_there > loud - _SPEAKS_DB)
        & (level_there > quiet + _OVER_NOISE_DB)
    )
    return int(only_there.sum()) >= max(_MIN_ONLY_THERE_BLOCKS, _MIN_ONLY_THERE * len(only_there))


def _alternate(power_N2: NDArray[np.float64]) -> bool:
    """Whether mostly one channel at a time is active, and each of the two for some of the time."""
    level_N2 = 10 * np.log10(np.maximum(power_N2, _FLOOR))
    level_N2 = level_N2 - np.percentile(level_N2, 95, axis=0)
    active = level_N2.max(axis=1) > -_ACTIVE_DB
    difference = (level_N2[:, 0] - level_N2[:, 1])[active]
    if len(difference) < _MIN_ACTIVE_BLOCKS:
        return False
    left, right = float((difference > _ALONE_DB).mean()), float((difference < -_ALONE_DB).mean())
    return min(left, right) >= _MIN_ALONE and left + right >= _MIN_SEPARATE


def without_bleed(sound: NDArray[np.float32], channel: int, rate: int) -> NDArray[np.float32]:
    """One of two channels [2, n], turned down by 40 dB where it has only what the other party's microphone bleeds into it."""
    hop = max(1, rate * _GATE_MS // 1000)
    n = sound.shape[1]
    padded = np.pad(sound, ((0, 0), (0, -n % hop)))
    power = np.square(padded.reshape(2, -1, hop), dtype=np.float64).mean(axis=2)
    smooth = np.apply_along_axis(lambda p: np.convolve(p, np.ones(5) / 5, mode="same"), 1, power)  # 100 ms
    own, other = smooth[channel], smooth[1 - channel]
    bleed = other > np.maximum(own, _FLOOR) * 10 ** (BLEED_DB / 10)
    gain = np.where(bleed, 10 ** (_GATE_DB / 20), 1.0)
    centers = (np.arange(len(gain)) + 0.5) * hop
    return (sound[channel] * np.interp(np.arange(n), centers, gain)).astype(np.float32)
