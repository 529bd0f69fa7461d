"""Streaming a corpus: index, sampler, block cache, batches."""
