"""Who it is: the voices of all recordings of a corpus, joined into identities."""
