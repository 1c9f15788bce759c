"""The cases of tests/data/regenerate.py, one module a family; needs TensorFlow, so no test imports it."""
