"""Numba kernels on plain arrays, one file per algorithm."""
