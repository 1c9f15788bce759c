"""Programs: a network or a graph as a file that runs without this package, checked by the runtime that will run it.

`opening` finds what is exported, `shapes` decides its sizes, `tracing` records it as an exported program, one module
for each destination writes it, `check` runs the file in a process of its own, and `exporting` joins them.
"""
