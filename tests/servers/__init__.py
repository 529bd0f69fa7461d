"""Servers that tests start: a real S3 server, a proxy that spoils its traffic, and a Spark cluster."""
