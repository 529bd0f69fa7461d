"""A release in the formats of other tools, and its card."""
