"""Small weights that ship with the project, each with a model card, and the code that reads them."""
