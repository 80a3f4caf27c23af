"""The training job that the image runs: the recipes of `sabia`."""
