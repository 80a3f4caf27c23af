"""How fast versions are served, beside others and beside what the HTTP server could do at most."""
