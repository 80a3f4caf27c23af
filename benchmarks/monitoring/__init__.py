"""The cost of a report, and its power to detect drift."""
