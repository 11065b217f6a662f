"""What Algorithm 1 and prediction are made of: Torch state and Numba draws."""
