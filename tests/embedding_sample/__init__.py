"""A program that embeds tfckpt, as a type checker sees it: everything annotated, nothing of ours ignored."""
