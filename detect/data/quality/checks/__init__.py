"""Checks that find problems in annotations and images; one module per kind of evidence."""
