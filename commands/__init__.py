"""What a terminal sees. The only folder that prints."""
