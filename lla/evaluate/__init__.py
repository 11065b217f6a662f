"""Metrics: perplexity, ranking, model size."""
