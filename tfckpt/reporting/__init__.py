"""Reports for people: self-contained HTML pages with plots, of any checkpoint."""
