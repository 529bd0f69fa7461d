"""voxbeam: from raw, hours-long speech to a codec language model that speaks in a voice it has heard for three seconds."""

__version__ = "0.1.0"
