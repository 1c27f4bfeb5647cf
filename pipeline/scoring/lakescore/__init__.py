"""Mutual scoring by one descriptor a patch, against references that the images clean themselves. No Ray, no files."""
