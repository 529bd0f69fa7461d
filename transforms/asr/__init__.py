"""Speech recognizers behind one interface."""
