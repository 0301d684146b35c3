"""What came out of a search, as data, and functions of it."""
