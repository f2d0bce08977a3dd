"""Assets by layer. Each fetches frames, calls plain code and returns metadata worth looking at."""
