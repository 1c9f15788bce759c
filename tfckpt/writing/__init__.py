"""Writing, copying, editing and exporting checkpoints."""
