"""What a model computes, and how: one row, many rows, batches, threads."""
