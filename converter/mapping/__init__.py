"""Rules and layouts that map source tensors to target tensors, and the engine that applies them. Imports only NumPy."""
