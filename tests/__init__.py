"""The tests: one folder for each room, `local` for what runs real servers, `manifests` and `docs` for the files."""
