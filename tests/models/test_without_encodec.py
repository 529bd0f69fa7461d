"""The product without the optional package `encodec`: all but SEANet codecs works."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import torch

from voxbeam.commands.exit_status import UNUSABLE
from voxbeam.commands.main import main
from voxbeam.models import encodec_adapter
from voxbeam.models.codec import EMBEDDED_WEIGHTS, load_codec
from voxbeam.models.codec_model import CodecConfig, build_codec
from voxbeam.pipeline import model_fingerprints as models
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import ModelError

ROOT = Path(__file__).resolve().parents[2]
BLOCKED = """
import sys
sys.modules["encodec"] = None  # every import of it now fails
import numpy as np
import voxbeam.pipeline.build, voxbeam.commands.main, voxbeam.trainer.codec.train, voxbeam.transforms.chain
from voxbeam.models.codec import EMBEDDED_WEIGHTS, load_codec
from voxbeam.trainer.codec.config import CodecTrainConfig
from voxbeam.trainer.codec.train import CodecTrainer
codec = load_codec(EMBEDDED_WEIGHTS)
[codes] = codec.encode([np.zeros(3_300, np.float32)])
[wave] = codec.decode([codes])
assert codes.shape == (8, 11) and wave.shape == (3_520,)
CodecTrainer(CodecTrainConfig(gan_start=600))
assert not any(name.startswith("encodec.") for name in sys.modules)
"""


@pytest.fixture
def uninstalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package as if it were not installed: neither importable nor listed."""
    of_others = encodec_adapter.version

    def version(name: str) -> str:
        if name == "encodec":
            raise PackageNotFoundError(name)
        return of_others(name)

    for name in [name for name in sys.modules if name.split(".")[0] == "encodec"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "encodec", None)
    monkeypatch.setattr(encodec_adapter, "version", version)
    monkeypatch.setattr(models, "version", version)


@pytest.mark.slow
def test_everything_imports_and_the_embedded_codec_runs() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_seanet_codec_names_the_extra_and_its_license(
    uninstalled: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "codec.th"
    torch.save({}, path)
    with pytest.raises(ModelError, match=r"voxbeam\[encodec\].*CC BY-NC 4.0"):
        load_codec(path)
    with pytest.raises(ModelError, match=r"voxbeam\[encodec\]"):
        build_codec(CodecConfig())
    train = ["codec", "train", "--data", str(tmp_path), "--out", str(tmp_path / "run"), "--layers", "seanet"]
    assert main(train) == UNUSABLE
    assert "voxbeam[encodec]" in capsys.readouterr().err


def libraries(codec: Path | str) -> str:
    config: Any = {"tokenize": {"codec": str(codec)}}
    return models.model_hashes(CorpusConfig(**config))["libraries"]


def test_only_seanet_codecs_count_the_version(tmp_path: Path) -> None:
    published = tmp_path / "codec.th"
    published.write_bytes(b"")
    assert "encodec=" not in libraries("embedded")
    with_seanet = libraries(published).split()
    assert "encodec=0.1.1" in with_seanet and with_seanet == sorted(with_seanet)


def test_a_build_with_a_seanet_codec_is_refused_before_it_begins(uninstalled: None, tmp_path: Path) -> None:
    published = tmp_path / "codec.th"
    published.write_bytes(b"")
    assert "torch=" in libraries(EMBEDDED_WEIGHTS)
    with pytest.raises(ModelError, match=r"voxbeam\[encodec\]"):
        libraries(published)
