"""What the commands do. A module is imported once its command's flags are known to be right: most load torch."""
