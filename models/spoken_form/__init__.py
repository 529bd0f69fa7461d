"""Spoken form: written English as it is read aloud, with every symbol that cannot be spoken named.

Corpus and synthesis use this one function, so that a model is trained on and asked for the same words. The kinds that it
knows, with an example each: docs/spoken_form.md.
"""

from voxbeam.models.spoken_form.asides import directions
from voxbeam.models.spoken_form.characters import SILENT
from voxbeam.models.spoken_form.speak import SpokenForm, spoken_form

__all__ = ["SILENT", "SpokenForm", "directions", "spoken_form"]
