"""V1 checkpoints: tensors as messages in a sorted table, in one file or one file per shard."""
