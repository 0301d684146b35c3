"""Latency: measured, looked up in a table, or predicted."""
