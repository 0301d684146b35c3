"""Spaces of sizes: widths, depths, resolution."""
