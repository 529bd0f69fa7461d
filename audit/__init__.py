"""Audits: people listen to a sample of a release, and the release then states how wrong its labels are."""
