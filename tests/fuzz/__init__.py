"""Fuzzing: what each kind of file is tried with, a coverage-guided driver, and a seeded run of mutated checkpoints."""
