"""Writing and reading of files that are not checkpoints."""
