"""Studies of one notebook each: users, memory, forecasts, the gap to the oracle, topics shown."""
