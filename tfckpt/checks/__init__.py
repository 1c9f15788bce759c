"""What can be said of a whole checkpoint: damage, differences, a summary, advice."""
