"""Where outputs are written: local folders and object storage. A file appears whole or not at all."""
