"""What a server counts and records."""
