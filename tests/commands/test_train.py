"""`voxbeam train`: what it says before it trains."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from voxbeam.commands.exit_status import UNUSABLE
from voxbeam.commands.main import main
from voxbeam.commands.train import describe_prompts


def write_corpus(folder: Path, phones: str | None) -> Path:
    """A plain tar of one sample, whose phone id is 1."""
    folder.mkdir()
    codes = io.BytesIO()
    np.save(codes, np.ones((8, 300), np.int16))
    sample = json.dumps({"speaker": "s", "text": "t", "start_ms": 0, "phone_ids": [1], "words": None}).encode()
    with tarfile.open(folder / "x.tar", "w") as tar:
        for name, content in (("k.codes.npy", codes.getvalue()), ("k.json", sample)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    if phones is not None:
        (folder / "phones.json").write_text(phones)
    return folder


@pytest.mark.parametrize(
    ("phones", "words", "message"),
    [
        (None, [], "has no phones.json, so nobody knows what its phone ids mean"),
        ('{"phones": ["<pad>"]}', [], "phone_ids are not all numbers from 0 to 0"),
        ('{"phones": ["<pad>", "a"]}', ["--set", "codebook_size=512"], "codes go up to 1023"),
        ('{"phones": ["<pad>", "a"]}', ["--config", "huge"], "there is no configuration 'huge'"),
    ],
)
def test_what_cannot_be_trained_on_is_told(
    phones: str | None,
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("VOXBEAM_CACHE", str(tmp_path / "cache"))
    corpus = write_corpus(tmp_path / "corpus", phones)
    assert main(["train", str(corpus), "--out", str(tmp_path / "run"), "--no-validation", *words]) == UNUSABLE
    told = capsys.readouterr().err
    assert message in told and "Remedy: " in told


def test_nothing_to_speak_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "model", "run", "corpus", "--out", "o", "--count", "0"]) == UNUSABLE
    assert "0 is not in the range x>=1" in capsys.readouterr().err


def test_the_share_of_prompts_is_told() -> None:
    assert describe_prompts(0.2, 0.19) == "19% of the utterances begin with other speech of the same person, as in synthesis"
    assert "prompt_fraction asks for 20%, but too few people have other speech" in describe_prompts(0.2, 0.01)
