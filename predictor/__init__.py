"""The custom predictor that the image runs: the server of `sabia`, and a `kserve.Model` over the same model."""
