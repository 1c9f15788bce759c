"""Conversions as jobs of independent tasks: the files are those of a conversion by one process."""
