"""Checks that run whenever a dataset is read, and the handling of invalid images and annotations."""
