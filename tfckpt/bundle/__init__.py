"""V2 checkpoints: tensor bundles, which consist of an index file and data shards."""
