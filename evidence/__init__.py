"""Sequential tests on differences of counters: valid however often one looks. No I/O, no clock, nothing of ours."""

from evidence.categories import Categories, total_variation
from evidence.difference import DifferenceTest
from evidence.dispersion import Dispersion, failing_clients
from evidence.errors import EvidenceError, InvalidCounts, InvalidSetting
from evidence.family import average, harmed
from evidence.latency import Memory, exceedance, shifted
from evidence.odds import Batch, OddsTest
from evidence.paired import above_rate, sign_test
from evidence.shares import mismatch
from evidence.wealth import Wealth

__all__ = [
    "Batch",
    "Categories",
    "DifferenceTest",
    "Dispersion",
    "EvidenceError",
    "InvalidCounts",
    "InvalidSetting",
    "Memory",
    "OddsTest",
    "Wealth",
    "above_rate",
    "average",
    "exceedance",
    "failing_clients",
    "harmed",
    "mismatch",
    "shifted",
    "sign_test",
    "total_variation",
]
