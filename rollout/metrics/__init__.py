"""Where the counters of both arms come from: the servers' own pages, or a Prometheus."""
