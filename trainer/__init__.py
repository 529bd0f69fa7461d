"""Training: the codec (`trainer.codec`) and, over the shards that the pipeline packs, the codec language model."""
