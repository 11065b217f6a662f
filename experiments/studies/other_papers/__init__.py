"""Studies of notebooks 16 to 20, on the papers of others: what each of them measures."""
