"""An object store: create-only writes, compare-and-swap, listing."""
