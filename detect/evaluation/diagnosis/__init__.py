"""Likely causes of bad metrics, each from a measured check."""
