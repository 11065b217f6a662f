"""Published corpora whose documents have a label and belong to training or to test."""
