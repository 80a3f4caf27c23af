"""The `sabia` command: thin commands over the other packages."""
