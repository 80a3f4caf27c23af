"""Every format and name that crosses packages: layout, manifest, inference log, duration buckets."""
