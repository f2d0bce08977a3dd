"""The online plane: the store and the endpoint. Imports nothing of orchestration or ml; registered models carry what they need."""
