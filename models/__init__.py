"""Networks and their loaders. No training, no Beam."""
