"""Servers that tests start: a real S3 server, and a proxy that spoils its traffic."""
