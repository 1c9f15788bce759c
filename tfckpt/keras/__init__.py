"""Keras's own files: the part of HDF5 that Keras writes, and the names of the tensors in it."""
