"""One naming table or recognizer for each family of networks."""
