"""Names and layouts: which source tensor becomes which target tensor, as data and a small engine. NumPy only."""
