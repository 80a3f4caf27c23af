"""The model, and how it is run: one row, many rows, batches, threads."""
