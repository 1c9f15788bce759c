"""Proof that an output matches its source: the weights byte for byte, and the values that the network computes."""
