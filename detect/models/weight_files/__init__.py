"""Weights that other programs wrote: which kind of file it is, and its tensors, read without running code of it."""
