"""The census: which names of TensorFlow public scripts need, and which of them the stand-in offers."""
