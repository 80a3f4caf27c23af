"""A request's rows as the data frame that a scikit-learn pipeline of strings and numbers takes."""

import pandas as pd


def frame(instances: list[dict]) -> pd.DataFrame:
    """One row for each object."""
    return pd.DataFrame.from_records(instances)
