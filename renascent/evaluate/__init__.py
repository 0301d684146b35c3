"""Evaluators: what a proposal is worth, looked up in a table or trained for real."""
