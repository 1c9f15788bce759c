"""From what a user typed to the one checkpoint it means."""
