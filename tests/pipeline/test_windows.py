"""Windows cover a recording exactly."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from voxbeam.pipeline.steps.windows import plan_windows
from voxbeam.schemas.config import DecodeConfig
from voxbeam.schemas.recording import Recording, SourceInfo


@given(duration_ms=st.integers(1, 90_000_000), window_s=st.floats(60, 3600))
def test_windows_cover_the_recording(duration_ms: int, window_s: float) -> None:
    source = SourceInfo(
        sha256="0",
        bytes=1,
        format="wav",
        sample_rate=16_000,
        channels=1,
        duration_ms=duration_ms,
        frames=16 * duration_ms,
        decoder="libsndfile",
    )
    config = DecodeConfig(window_s=window_s)
    units = plan_windows(Recording(recording="r", uri="x"), source, config, "f")
    assert (units[0].start_ms, units[-1].end_ms) == (0, duration_ms)
    assert all(a.end_ms == b.start_ms for a, b in pairwise(units))
    assert all(0 < unit.end_ms - unit.start_ms <= window_s * 1000 + 1 for unit in units)
    assert [unit.index for unit in units] == list(range(len(units)))
    assert len({unit.name for unit in units}) == len(units)
    if len(units) > 1:  # edges that move towards each other never cross
        assert min(unit.end_ms - unit.start_ms for unit in units) >= 2 * units[0].margin_ms


def test_another_text_is_another_unit() -> None:
    """A finished unit compared its segments with the text; only one that was compared with the same text is used again."""
    source = SourceInfo(
        sha256="0", bytes=1, format="wav", sample_rate=16_000, channels=1, duration_ms=9000, frames=144_000, decoder="libsndfile"
    )
    names = [
        [unit.name for unit in plan_windows(Recording(recording="r", uri="x", text=text), source, DecodeConfig(), "f")]
        for text in (None, "", "one", "two", "one")
    ]
    assert names[0] == names[1] and names[2] == names[4]
    assert len({name for (name,) in names}) == 3


def test_ten_hours_beside_ten_seconds() -> None:
    """A long recording keeps no worker for longer than a window, and a short one is a unit of its own."""

    def lengths(hours: float) -> list[int]:
        source = SourceInfo(
            sha256="0",
            bytes=1,
            format="wav",
            sample_rate=16_000,
            channels=1,
            duration_ms=round(hours * 3_600_000),
            frames=16 * round(hours * 3_600_000),
            decoder="libsndfile",
        )
        units = plan_windows(Recording(recording="r", uri="x"), source, DecodeConfig(), "f")
        return [unit.end_ms - unit.start_ms for unit in units]

    assert lengths(10) == [1_200_000] * 30
    assert lengths(10 / 3600) == [10_000]
