"""Several lines of evidence, and several canaries.

- Lines of one canary: a weighted average of e-processes with fixed weights is an e-process of "no line is harmed",
  whatever the dependence between them.
- Several canaries: e-BH (Wang and Ramdas, arXiv 2009.02824): reject the k* canaries with the largest evidence,
  k* = max{k : k e_(k) / K >= 1/alpha}. The share of wrongly rejected ones is at most alpha on average, under any
  dependence; with one canary it is the plain test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from sabia.sequential.errors import InvalidSetting


def combine(log_e: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Log of the combined evidence: the weighted average of e-values.

    Raises:
        InvalidSetting: the weights are not positive or do not add up to 1.
    """
    if set(log_e) != set(weights) or min(weights.values()) <= 0 or not math.isclose(sum(weights.values()), 1.0):
        raise InvalidSetting("weights", dict(weights), "positive, of sum 1, one for each line")
    terms = [value + math.log(weights[name]) for name, value in sorted(log_e.items())]
    top = max(terms)
    return top if math.isinf(top) else top + math.log(sum(math.exp(term - top) for term in terms))


def e_benjamini_hochberg(log_e: Mapping[str, float], alpha: float) -> list[str]:
    """The canaries that e-BH rejects at `alpha`, the worst first."""
    ranked = sorted(log_e, key=lambda name: (-log_e[name], name))
    passing = [k for k, name in enumerate(ranked, 1) if log_e[name] + math.log(k / len(ranked)) >= -math.log(alpha)]
    return ranked[: max(passing, default=0)]
