"""Bytes to values and back: varints, checksums, order-preserving codes; knows no file, table or message."""
