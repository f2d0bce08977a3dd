"""The online plane: store and endpoint. Registered models carry what they need, so nothing of ours is imported."""
