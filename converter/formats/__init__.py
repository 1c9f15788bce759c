"""Files of converted weights, one module a format."""
