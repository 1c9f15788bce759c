"""Where the bytes of a checkpoint live; one contract, several homes."""
