"""Requests and predictions as Parquet files in a store: collected on the event loop, written by a thread."""

import os

# Arrow's own allocators keep a thread and return memory that the next file needs again; the server configures the C
# library's to keep some.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
