"""Consent, takedown and marking: who allowed what, and how made speech is recognized (docs/safety.md)."""
