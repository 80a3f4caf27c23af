"""The whole of it on a real cluster: from an empty namespace to answered calls, and through what goes wrong."""
