"""The corpus build as an Apache Beam job."""
