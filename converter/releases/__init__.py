"""Published checkpoints: the table, which one a file is, and their download."""
