"""Consent, takedown and marking: who allowed what, where it is checked, and how made speech is recognized. docs/safety.md explains it."""
