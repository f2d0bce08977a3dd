"""The consumer of a movement stream."""
