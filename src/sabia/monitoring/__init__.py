"""What the models do, seen from their logs: drift, quality by labels, comparisons, reports, a live page, exports."""
