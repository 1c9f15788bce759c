"""Benchmarks against TensorFlow, timm and `cp`: `make bench`."""
