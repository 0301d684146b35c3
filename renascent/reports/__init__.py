"""Pages, figures and text about results."""
