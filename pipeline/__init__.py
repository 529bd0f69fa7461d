"""The corpus job: the Beam graph, work units, shards, releases, storage, progress and reports."""
