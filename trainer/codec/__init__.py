"""Training the embedded codec."""
