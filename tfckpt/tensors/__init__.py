"""The meaning of a tensor's bytes: data types, dense payloads, strings, tensor slices."""
