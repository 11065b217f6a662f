"""The report, made of result files and nothing else; ``python -m experiments.report`` writes it."""
