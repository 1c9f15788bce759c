"""Published checkpoints: their table, their recognition and their download."""
