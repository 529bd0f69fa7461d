"""One stage per file: a pure function on plain values, and the PTransform that applies it at scale."""
