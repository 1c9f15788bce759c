"""V2 checkpoints: tensor bundles, an index file beside data shards."""
