"""Loops: `share` searches over shared weights, `fit` trains one fixed network."""
