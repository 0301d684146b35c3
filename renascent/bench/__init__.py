"""Benchmark tables, and strategies compared on them."""
