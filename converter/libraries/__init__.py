"""Other PyTorch libraries: their names, models and directory layouts."""
