"""Fuzzing: targets for each kind of file, a coverage-guided driver, and a seeded run of mutated files."""
