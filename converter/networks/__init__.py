"""Networks of other code bases, ready to convert: rules, settings and targets as data, and their recognition."""
