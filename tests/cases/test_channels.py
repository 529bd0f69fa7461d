"""Channel policies: two channels of every relation, and an offset that changes nothing."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from voxbeam.transforms.audio.channels import ChannelMeter
from voxbeam.transforms.audio.checks import Limits
from voxbeam.transforms.audio.file import probe_file, read_mono
from voxbeam.transforms.audio.window import decode, without_offset

LIMITS = Limits(max_sample_rate=96_000, max_channels=2, min_duration_s=0.5, max_duration_s=86_400)
RATE = 16_000
Wave = NDArray[np.float32]
CASES = Path(__file__).parents[3] / "shared" / "cases"


def alternating(speech: Wave, bleed: float, noise: float) -> tuple[Wave, Wave, NDArray[np.bool_]]:
    """Left, right, and where left speaks: parties that take turns of three seconds, each in its own channel."""
    turn = np.repeat(np.arange(10) % 2, 3 * RATE)[: len(speech)]
    left, right = speech * (turn == 0), speech * (turn == 1)
    rng = np.random.default_rng(4)
    a, b = (rng.normal(0, noise, len(speech)) for _ in range(2))
    return (left + bleed * right + a).astype(np.float32), (right + bleed * left + b).astype(np.float32), turn == 0


def relations(speech: Wave) -> dict[str, tuple[str, int | None, Wave, Wave]]:
    noise = np.random.default_rng(5).normal(0, 1, (2, len(speech))).astype(np.float32)
    far = np.roll(speech, 40)
    left, right, _ = alternating(speech, 0.03, 1e-4)
    loud, quiet, _ = alternating(speech, 0.0, 1e-4)
    return {
        "twins": ("twin", None, speech, speech),
        "anti-phase": ("inverted", 0, speech, -speech),
        "nearly": ("inverted", 1, -0.9 * speech, speech),
        "anti-phase in noise": ("inverted", 0, speech + 0.003 * noise[0], -0.8 * speech + 0.003 * noise[1]),
        "left only": ("one_silent", 0, speech, 0 * speech),
        "right with hiss on the left": ("one_silent", 1, 0.0005 * noise[0], speech),
        "two microphones": ("mean", None, speech, 0.7 * far + 0.002 * noise[1]),
        "the left 15 ms later": ("delayed", 1, np.roll(speech, 240), speech),
        "the right 0.6 s later, and quieter": ("delayed", 0, speech, (0.5 * np.roll(speech, 9600) + 0.002 * noise[1])),
        "panned": ("mean", None, speech, 0.4 * speech),
        "a party per channel": ("separate", None, left, right),
        "a quiet party": ("separate", None, loud, 0.3 * quiet),
    }


@pytest.mark.slow
@pytest.mark.parametrize("container", ["flac", "wav", "mp3"])
def test_the_policy_is_found(container: str, tmp_path: Path, speech: Wave) -> None:
    for name, (policy, channel, left, right) in relations(speech).items():
        path = tmp_path / f"a.{container}"
        sf.write(path, np.stack([left, right], axis=1), RATE)
        info = probe_file(path, LIMITS)
        assert (name, info.channel_policy, info.channel) == (name, policy, channel)


@pytest.mark.parametrize("leak_db", [-6, -10, -14])
@pytest.mark.parametrize(
    ("delay_ms", "both_ways"), [(2, True), (5.8, True), (15, True), (2, False), (5.8, False), (15, False), (370, False)]
)
def test_a_party_that_speaks_little_stays(delay_ms: float, both_ways: bool, leak_db: float, speech: Wave) -> None:
    """Each has a channel and leaks into the other one later: through the room, or as the echo of a line."""
    turn = np.arange(len(speech)) > len(speech) - 2 * RATE
    left, right = speech * ~turn, 0.4 * speech * turn
    leak, later = 10 ** (leak_db / 20), round(delay_ms * RATE / 1000)
    noise = np.random.default_rng(7).normal(0, 1e-4, (2, len(speech)))
    sound = np.stack([left + both_ways * leak * np.roll(right, later), right + leak * np.roll(left, later)]) + noise
    for channels in (sound, sound[::-1]):
        assert policy_of(channels) in ("mean", "separate")


@pytest.mark.parametrize("hiss", [0.0, 1e-5])
def test_a_party_that_is_quiet_and_speaks_little_is_no_silent_channel(hiss: float, speech: Wave) -> None:
    turn = np.arange(len(speech)) > len(speech) - 2 * RATE
    noise = np.random.default_rng(8).normal(0, hiss, (2, len(speech)))
    sound = np.stack([speech * ~turn, 0.02 * speech * turn]) + noise
    assert policy_of(sound) in ("mean", "separate")
    assert policy_of(np.stack([sound[0], noise[1]])) == "one_silent"


def policy_of(sound: NDArray[np.floating]) -> str:
    meter = ChannelMeter(RATE)
    for start in range(0, sound.shape[1], RATE):
        meter.add(sound[:, start : start + RATE].astype(np.float32))
    return meter.policy().name


def test_one_channel_is_as_loud_as_mono(tmp_path: Path, speech: Wave) -> None:
    for name, (policy, channel, left, right) in relations(speech).items():
        if policy not in ("inverted", "one_silent", "delayed"):
            continue
        sf.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
        info = probe_file(tmp_path / "a.wav", LIMITS)
        np.testing.assert_array_equal(read_mono(tmp_path / "a.wav", info, 0, info.frames), right if channel else left, name)


def test_twins_and_mono_give_the_bytes_of_the_mean(tmp_path: Path, speech: Wave) -> None:
    sf.write(tmp_path / "mono.wav", speech, RATE)
    sf.write(tmp_path / "twin.wav", np.stack([speech, speech], axis=1), RATE)
    sounds = [read_mono(path, probe_file(path, LIMITS), 0, len(speech)) for path in sorted(tmp_path.iterdir())]
    np.testing.assert_array_equal(*sounds)


def test_bleed_is_turned_down_and_speech_is_not(tmp_path: Path, speech: Wave) -> None:
    left, right, left_speaks = alternating(speech, 0.05, 1e-5)
    sf.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    info = probe_file(tmp_path / "a.wav", LIMITS)
    assert info.channel_policy == "separate"
    for track, (sound, own) in enumerate(((left, left_speaks), (right, ~left_speaks))):
        got = read_mono(tmp_path / "a.wav", info, 0, info.frames, track)
        loud = np.abs(sound) > 0.03
        assert np.isclose(got, sound)[own & loud].mean() > 0.99
        assert np.square(got[~own]).mean() < 0.05 * np.square(sound[~own]).mean()


@pytest.mark.parametrize("offset", [0.0006, 0.005, 0.02, 0.3, -0.1])
def test_an_offset_is_removed(offset: float, speech: Wave) -> None:
    got = without_offset(speech + np.float32(offset), RATE)
    assert abs(float(got.mean())) < 1e-5 and np.abs(got - speech).std() < 2e-4


def test_sound_without_offset_stays_as_it_is(speech: Wave) -> None:
    rng = np.random.default_rng(6)
    for sound in (speech, 0.1 * rng.normal(size=RATE).astype(np.float32), speech[:5000], np.zeros(RATE, np.float32)):
        assert without_offset(sound, RATE) is sound


def test_anti_phase_case_sounds_like_its_mono_file() -> None:
    folder = CASES / "01-antiphase"
    if not folder.is_dir():
        pytest.skip("needs ../shared/cases")
    sounds = []
    for name in ("01_mono", "01_anti", "01_nearanti"):
        info = probe_file(folder / f"{name}.flac", LIMITS)
        sounds.append(decode(folder / f"{name}.flac", info, 0, info.duration_ms, 15_000)[0].pcm24k)
    for sound in sounds[1:]:
        np.testing.assert_allclose(sound, sounds[0], atol=1e-4)


def test_call_case_is_two_tracks() -> None:
    path = CASES / "03-speaker-per-channel" / "03_call.flac"
    if not path.exists():
        pytest.skip("needs ../shared/cases")
    assert probe_file(path, LIMITS).channel_policy == "separate"
