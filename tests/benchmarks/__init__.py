"""The project's own benchmark: what the gateway adds to an answer, beside a yardstick in the same run.

`uv run python -m tests.benchmarks` measures, and prints a table; deploy/guide/performance.md says how to read it.
"""
