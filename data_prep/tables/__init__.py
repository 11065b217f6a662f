"""Tables of events: found, recognised, read in blocks of rows, filtered on disk."""
