"""What the bytes of a tensor mean: data types, dense payloads, strings, tensor slices."""
