"""Folders and buckets: objects, releases, listings, downloaded models."""
