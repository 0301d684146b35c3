"""The official strings and indices of published spaces."""
