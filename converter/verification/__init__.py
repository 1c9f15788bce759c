"""Proof that an output is what its source says: the weights byte for byte, and the network's values."""
