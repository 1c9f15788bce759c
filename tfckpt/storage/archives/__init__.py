"""Checkpoints in tar and zip archives, compressed or not."""
