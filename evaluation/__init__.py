"""What is measured of models, and the pages that show it."""
