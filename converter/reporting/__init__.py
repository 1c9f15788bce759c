"""The conversion report: how each tensor was used, statistics of the weights, and preprocessing."""
