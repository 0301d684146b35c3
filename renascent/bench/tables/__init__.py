"""Benchmark tables: columns, files, objectives."""
