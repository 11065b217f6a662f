"""The profile `paper` from a rehearsal: what was measured on a part, what follows for the whole.

``benchmarks/rehearsal.py`` measures; `scaling` has models of time, memory and disk, `plan` what the
profile asks for and what it would take, `text` the generated tables.
"""
