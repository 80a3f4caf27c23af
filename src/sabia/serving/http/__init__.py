"""HTTP/1.1 over sockets: connections, their bounds and their order. Knows no model."""
