"""Checkpoints on web servers and in the file systems that fsspec knows."""
