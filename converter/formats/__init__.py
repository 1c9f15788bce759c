"""File formats of converted weights, one module a format."""
