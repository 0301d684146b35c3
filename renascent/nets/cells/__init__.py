"""The cell of the topology space, computed once for all candidates."""
