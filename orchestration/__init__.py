"""The batch plane: Dagster's definitions, the plain code that they call, and the command line."""
