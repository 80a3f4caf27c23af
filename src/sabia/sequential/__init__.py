"""Sequential tests on differences of counters: valid at every look. No I/O, no clock."""

from sabia.sequential.categories import Categories, total_variation
from sabia.sequential.difference import DifferenceTest
from sabia.sequential.dispersion import Dispersion, failing_clients
from sabia.sequential.errors import InvalidCounts, InvalidSetting, SequentialError
from sabia.sequential.family import combine, e_benjamini_hochberg
from sabia.sequential.latency import Memory, exceedance, shifted
from sabia.sequential.odds import Batch, OddsTest
from sabia.sequential.paired import above_rate, sign_test
from sabia.sequential.shares import sample_ratio_mismatch
from sabia.sequential.wealth import Wealth

__all__ = [
    "Batch",
    "Categories",
    "DifferenceTest",
    "Dispersion",
    "InvalidCounts",
    "InvalidSetting",
    "Memory",
    "OddsTest",
    "SequentialError",
    "Wealth",
    "above_rate",
    "combine",
    "e_benjamini_hochberg",
    "exceedance",
    "failing_clients",
    "sample_ratio_mismatch",
    "shifted",
    "sign_test",
    "total_variation",
]
