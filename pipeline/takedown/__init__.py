"""Takedown: who a person is in a corpus, a release without them, and the end of everything that is left of them."""
