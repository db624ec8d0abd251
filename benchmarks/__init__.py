"""Where every number in the docs comes from.

A benchmark is a module of this package: ``python -m benchmarks.NAME [--quick]``. It prints a table for
people; the last line on stdout is one JSON object. It exits with 2 and one message where something that it
needs is missing. ``--quick`` ends within a minute and is less certain.
"""
