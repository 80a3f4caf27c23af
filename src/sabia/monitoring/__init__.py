"""Monitoring of served models, from their logs: drift, quality, comparisons, reports, a live page, exports."""
