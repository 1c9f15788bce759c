"""The LevelDB-style sorted table that holds a bundle's index and a whole V1 checkpoint: bytes in, (key, value) out."""
