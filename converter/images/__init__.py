"""Preprocessing of images for networks."""
