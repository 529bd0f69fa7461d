"""The nouns: their fields, Arrow schemas and validators; the configuration; the errors. Imports nothing else of voxbeam."""
