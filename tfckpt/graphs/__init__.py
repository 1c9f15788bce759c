"""The graphs saved with a checkpoint: GraphDef, MetaGraphDef, SavedModel and the object graph."""
