"""Link: the same voices in other windows, and their names."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from voxbeam.schemas.segment import LocalSpeaker
from voxbeam.transforms.link_speakers import link_speakers, name_speakers


def voice(label: str, direction: tuple[float, ...], speech_ms: int = 1_000) -> LocalSpeaker:
    unit = np.array(direction) / np.linalg.norm(direction)
    return LocalSpeaker(label=label, embedding=tuple(unit.tolist()), speech_ms=speech_ms)


def test_the_same_voice_gets_the_same_number():
    windows = [
        [voice("v1", (1, 0, 0), 5_000), voice("v2", (0, 1, 0), 2_000)],
        [voice("v1", (0.1, 1, 0), 9_000), voice("v2", (1, 0.1, 0), 1_000)],
        [voice("v1", (0, 0, 1), 100)],
    ]
    assert link_speakers(windows, 0.3) == [{"v1": 1, "v2": 0}, {"v1": 0, "v2": 1}, {"v1": 2}]


def test_voices_of_one_window_are_never_one_person():
    twins = [[voice("v1", (1, 0)), voice("v2", (1, 0))], [voice("v1", (1, 0)), voice("v2", (1, 0.01))]]
    for link in link_speakers(twins, 1.9):
        assert len(set(link.values())) == 2


def test_speech_weighs():
    """A group is where most of its speech is: a short odd window does not pull it towards another voice."""
    windows = [[voice("v1", (1, 0), 60_000)], [voice("v1", (1, 0.5), 500)], [voice("v1", (1, 1.6), 60_000)]]
    assert [link["v1"] for link in link_speakers(windows, 0.3)] == [0, 0, 1]


def test_nothing_and_voices_without_embedding():
    assert link_speakers([], 0.3) == []
    assert link_speakers([[], []], 0.3) == [{}, {}]
    mute = LocalSpeaker(label="v1", embedding=(0.0, 0.0), speech_ms=0)
    assert sorted(link["v1"] for link in link_speakers([[mute], [mute]], 0.3)) == [0, 1]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.lists(st.integers(0, 5), min_size=3, max_size=3), st.integers(0, 9_999)), max_size=4),
        max_size=6,
    ),
    st.floats(0.05, 1.9),
)
def test_every_voice_has_one_number_and_windows_keep_theirs_apart(raw, threshold):
    windows = [
        [LocalSpeaker(label=f"v{i}", embedding=tuple(float(x) for x in e), speech_ms=ms) for i, (e, ms) in enumerate(voices)]
        for voices in raw
    ]
    links = link_speakers(windows, threshold)
    assert links == link_speakers(windows, threshold)
    assert [list(link) for link in links] == [[v.label for v in voices] for voices in windows]
    assert all(len(set(link.values())) == len(link) for link in links)
    speech: dict[int, int] = {}
    for voices, link in zip(windows, links, strict=True):
        for v in voices:
            speech[link[v.label]] = speech.get(link[v.label], 0) + v.speech_ms
    assert sorted(speech) == list(range(len(speech)))
    assert [speech[n] for n in range(len(speech))] == sorted(speech.values(), reverse=True)


def test_names():
    assert name_speakers("talk", None, 3) == ["talk_v1", "talk_v2", "talk_v3"]
    assert name_speakers("talk", "ann", 2) == ["ann", "talk_v2"]
    assert name_speakers("talk", "ann", 0) == []
