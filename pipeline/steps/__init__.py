"""The steps of the build: list, plan, process, pack, commit."""
