"""Latent LSTM Allocation."""
