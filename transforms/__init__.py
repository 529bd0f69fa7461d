"""The stages of the pipeline: one file each, a pure function and the stage that applies it to a unit."""
