"""What a report costs, and what it sees."""
