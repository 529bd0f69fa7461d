"""Speaking: text and a 3-second prompt to sound. Does not import the trainer."""
