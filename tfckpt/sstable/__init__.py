"""The LevelDB-style sorted table: the format of a bundle's index and of V1 checkpoints."""
