"""Configurations that would take for ever, all memory or a traceback: each a sentence."""

from pathlib import Path

import pytest

from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import ConfigError

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
)
BOMBS: dict[str, tuple[str | bytes, str]] = {
    "billion laughs": (LAUGHS, "anchors and aliases"),
    "an alias to itself": ("device: &a [*a]", "anchors and aliases"),
    "deep lists": ("device: " + "[" * 20_000, "more than 50 levels|not YAML"),
    "deep mappings": ("{a: " * 20_000, "more than 50 levels|not YAML"),
    "a huge number": ("decode: {memory_mb: " + "9" * 9_000 + "}", "ValueError|64 bits"),
    "a huge number in base 60": ("decode: {memory_mb: " + ":".join(["1"] * 400_000) + "}", "more than 10000 characters"),
    "a number in base 60": ("decode: {memory_mb: " + ":".join(["1"] * 4_900) + "}", "not a plain number"),
    "a long text": ("device: " + "x" * 20_000, "more than 10000 characters"),
    "a huge file": ("#" * (2 << 20), "more than 1048576 bytes"),
    "a date that is none": ("device: 2001-99-99", "not YAML"),
    "an object": ("device: !!python/object/apply:os.system [ls]", "not YAML"),
    "half a character": (b'device: "\xed\xa0\x80"', "not YAML"),
    "a NUL": (b"device: \0", "not YAML"),
    "a list": ("- 1", "wrong keys"),
    "infinity": ("decode: {memory_mb: .inf}", "memory_mb"),
    "a limit that is no number": ("filter: {min_snr_db: .nan}", "filter.min_snr_db: .*finite"),
    "an infinite limit": ("filter: {max_clipping: -.inf}", "filter.max_clipping"),
    "a section twice": ("filter: {min_snr_db: 15}\nfilter: {min_snr_db: 20}", "'filter' is there twice"),
    "a key twice": ("filter: {min_snr_db: 15, min_snr_db: 20}", "'min_snr_db' is there twice"),
    "minutes": ("filter: {min_snr_db: 1:30}", "not a plain number"),
    "minutes with a point": ("filter: {min_snr_db: 1:30.5}", "not a plain number"),
    "octal digits": ("filter: {max_ngram_repeats: 010}", "not a plain number"),
    "yes for a number": ("filter: {min_snr_db: yes}", "filter.min_snr_db: true and false"),
    "percent for a share": ("filter: {min_speech_ratio: 60}", "less than or equal to 1"),
    "a share below nothing": ("filter: {max_dropouts: -0.1}", "greater than or equal to 0"),
    "a score that nothing reaches": ("filter: {min_dnsmos_ovrl: 9}", "less than or equal to 5"),
    "a number for a name": ("exclude: {speakers: {1088: gone}}", "exclude.speakers: .*in quotes"),
    "no for a name": ("exclude: {speakers: {no: gone}}", "exclude.speakers: .*in quotes .found False"),
    "a key that is nearly right": ("filter: {min_snr: 15}", "filter.min_snr: .*did you mean filter.min_snr_db"),
    "a key of another section": ("segment: {min_snr_db: 15}", "did you mean filter.min_snr_db"),
    "a section that is nearly right": ("filtr: {min_snr_db: 15}", "did you mean filter"),
}


@pytest.mark.parametrize("case", BOMBS)
def test_a_bomb_is_a_sentence(tmp_path: Path, case: str) -> None:
    content, message = BOMBS[case]
    (tmp_path / "c.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=message) as caught:
        CorpusConfig.from_yaml(tmp_path / "c.yaml")
    assert len(str(caught.value)) < 3_000


def test_a_device_without_an_end_is_a_sentence() -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("needs /dev/zero")
    with pytest.raises(ConfigError, match="more than 1048576 bytes"):
        CorpusConfig.from_yaml("/dev/zero")
