"""A server with the voice that ships, and one that nobody allowed."""

from collections.abc import Iterator

import pytest

from voxbeam.assets import PROMPT, PROMPT_TEXT
from voxbeam.models.threads import pin_threads
from voxbeam.safety.ledger import Ledger
from voxbeam.serving.speech_server import ServerConfig, SpeechServer
from voxbeam.serving.voices import Voices
from voxbeam.synthesis.prompt import Prompt
from voxbeam.synthesis.synthesizer import Synthesizer

from tests.serving.asking import KENNEDY


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Voices]:
    """Of a server whose ledger is this module's own."""
    pin_threads()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VOXBEAM_LEDGER", str(tmp_path_factory.mktemp("serving") / "ledger"))
        first = Synthesizer.load(prompt=PROMPT, prompt_text=PROMPT_TEXT)
        Ledger().create("Test house")
        yield Voices(first, {"kennedy": Prompt.read(KENNEDY)}, 3.0)


@pytest.fixture
def server(voices: Voices) -> Iterator[SpeechServer]:
    server = SpeechServer(voices, ServerConfig(model="embedded", waiting=0))
    yield server
    server.close()
