"""File clock: compares the times that a container states for its packets with the sound that they hold.

A recorder that is paused, a participant who is muted, and packets that are lost leave gaps between the times. Decoders join the
sound on both sides of a gap, so that two halves of different words become one. Here a gap is as long as the container says.
"""

_TIMED = ("matroska", "mov", "mpegts", "mpeg", "flv", "asf", "ogg")
"""containers whose packets have times of their own; those of others follow from the bytes or the samples before"""
_MIN_GAP_S = 0.1
"""times are rounded, and those of live streams jitter"""
_MAX_GAP_S = 600.0
"""longer than any pause: where times jump by more, forward as backward, another recording begins, which is joined without one"""
_MAX_AHEAD_S = 0.5
"""times may catch up by this much; those that go back by more begin another recording"""


class FileClock:
    """Finds the gaps of one stream, packet by packet or frame by frame. All times are seconds."""

    def __init__(self, container: str) -> None:
        self._timed = container.startswith(_TIMED)
        self._end: float | None = None
        self._lag = 0.0

    def gap(self, start: float | None, seconds: float) -> float:
        """Missing time before sound of some length whose container states that it begins at `start`; 0 without a gap.

        A packet that comes late and is followed by others that catch up leaves a gap once, not every time.
        """
        if not self._timed or start is None:
            self._end = None
            return 0.0
        step = 0.0 if self._end is None else start - self._end
        self._end = start + seconds
        if step > _MAX_GAP_S:
            self._lag = 0.0
            return 0.0
        self._lag = max(-_MAX_AHEAD_S, self._lag + step)
        missing = min(step, self._lag)
        if missing < _MIN_GAP_S:
            return 0.0
        self._lag -= missing
        return missing
