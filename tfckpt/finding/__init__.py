"""From what a user typed to one checkpoint."""
