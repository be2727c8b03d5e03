"""Benchmarks of the toolkit, started by benchmark.py; not part of the installed package."""
