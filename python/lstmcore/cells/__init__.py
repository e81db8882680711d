"""The cells and their wrappers."""
