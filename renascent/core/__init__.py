"""What everything stands on: decisions, architectures, gates, protocols, files. Numpy suffices for the lower half."""
