"""Conversions between bytes and values: integers, checksums, order-preserving codes, names."""
