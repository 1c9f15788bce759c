"""From an image to a network's input."""
