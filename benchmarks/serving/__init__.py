"""Serving throughput and latency, compared with other servers and with bare replies."""
