"""One whole search, and the result that it returns."""
