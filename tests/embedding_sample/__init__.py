"""A fully annotated program that embeds tfckpt, for type checkers."""
