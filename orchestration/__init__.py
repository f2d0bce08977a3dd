"""The batch plane: Dagster's definitions, the plain code that they call, and the command line."""

import os

# Before a numerical library is loaded. Threads that spin while they wait take the cores that other processes need: two
# trainings side by side on two busy cores took 40 s each and 1 s with threads that sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
