"""Other PyTorch libraries: their names, models and folder layouts."""
