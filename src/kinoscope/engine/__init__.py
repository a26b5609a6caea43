"""The training engine: one explicit loop that knows a task only through `Stage`."""
