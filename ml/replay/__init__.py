"""A restock policy through history: what it would have ordered, sold, lost, held and cost."""

from ml.replay.simulate import Decide, Seen, State, replay

__all__ = ["Decide", "Seen", "State", "replay"]
