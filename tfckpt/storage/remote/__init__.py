"""Checkpoints on servers and object stores, read in byte ranges."""
