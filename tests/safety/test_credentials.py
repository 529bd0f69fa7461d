"""C2PA metadata: signed offline with a local key, read back, and broken by whoever changes the file."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from voxbeam.commands.exit_status import WRONG
from voxbeam.commands.main import main
from voxbeam.safety.credentials import TRAINED_MEDIA, read_credentials, sign_file
from voxbeam.safety.keys import KeyRing
from voxbeam.schemas.errors import ConsentError

pytest.importorskip("c2pa")


def test_a_file_is_signed_read_and_its_change_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, keys = tmp_path / "said.wav", KeyRing(tmp_path / "keys")
    wave = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
    sf.write(path, wave, 24_000)
    before, _ = sf.read(path)
    assert read_credentials(path) is None
    sign_file(path, "ab" * 32, keys)
    found = read_credentials(path)
    assert found == {"valid": True, "signer": "voxbeam", "event": "ab" * 32, "source_type": TRAINED_MEDIA}
    np.testing.assert_array_equal(sf.read(path)[0], before)
    assert (keys.folder / "c2pa.pem").stat().st_mode & 0o777 == 0o600
    assert main(["detect", str(path)]) == WRONG
    assert "C2PA" in capsys.readouterr().out
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    changed = read_credentials(path)
    assert changed is not None and changed["valid"] is False
    with pytest.raises(ConsentError, match="WAV files only"):
        sign_file(tmp_path / "said.ogg", "", keys)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["keys", "said.wav"]
