"""The speech and the single thread of the trainer's tests."""

from tests.trainer.conftest import one_thread, speech_folder

__all__ = ["one_thread", "speech_folder"]
