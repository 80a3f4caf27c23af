"""What was asked and answered, as Parquet files in a store: collected on the event loop, written by a thread."""

import os

# Arrow's own allocators keep a thread and give memory back that the next file needs again; the C library's is told by
# the server to keep some.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
