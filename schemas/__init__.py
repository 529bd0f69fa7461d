"""The nouns of voxbeam: typed records, their Arrow schemas and validators."""
