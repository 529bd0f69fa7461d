"""Speech recognition (ASR): backends with one interface."""
