"""Benchmarks: what the numbers of the documentation were measured with."""
