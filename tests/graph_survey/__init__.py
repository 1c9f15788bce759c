"""How many public graphs the engine runs: fetched and laid out, recorded by TensorFlow, and compared.

These scripts are run by hand, and docs/graphs.md has their counts; the graphs are never committed::

    python -m tests.graph_survey.layout FOLDER
    python tests/graph_survey/record.py FOLDER        in an environment with TensorFlow
    python -m tests.graph_survey.compare FOLDER --export
"""
