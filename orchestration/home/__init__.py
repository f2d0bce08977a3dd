"""The home that holds all state: its settings, its preparation, its lock, what code ran in it."""
