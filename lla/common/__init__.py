"""Errors, random streams, threads, progress and files."""
