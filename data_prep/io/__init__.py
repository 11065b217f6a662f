"""Shared machinery of the sources: input files, tables of events, token files, corpus building."""
