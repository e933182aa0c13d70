"""Benchmarks of the whole stack; none of them runs in the default test run."""
