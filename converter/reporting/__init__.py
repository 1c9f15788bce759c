"""The conversion report for people: what became of every tensor, what the weights look like, what they are for."""
