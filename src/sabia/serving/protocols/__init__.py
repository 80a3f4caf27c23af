"""The protocols of clients: from a request to rows, and from predictions to a response."""
