"""Sample ratio mismatch (SRM): do the arms get the shares of their weights?

Null: every request goes to an arm with the given probabilities. A share that differs means that routing is broken, not
that a model is bad. Evidence is the Dirichlet mixture of Lindon and Malek, arXiv 2011.03567:

    E = B(c s + n) / B(c s) / prod_i s_i^n_i,    B the multivariate beta function, s the shares, c the concentration.

A weighted round robin scatters less than independent draws, which only makes false alarms rarer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sabia.sequential.errors import InvalidCounts, InvalidSetting

_CONCENTRATION = 10.0


def sample_ratio_mismatch(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Log e-value against these shares (positive, of sum 1), from the counts since the shares were set.

    Raises:
        InvalidCounts, InvalidSetting: something is negative, or the shares are not shares.
    """
    if len(counts) != len(shares) or min(counts) < 0:
        raise InvalidCounts("Counts by arm", "must be one for each share, none negative")
    if min(shares) <= 0 or not math.isclose(sum(shares), 1.0, rel_tol=1e-9):
        raise InvalidSetting("shares", tuple(shares), "positive, of sum 1")
    prior = [_CONCENTRATION * share for share in shares]
    found = math.lgamma(_CONCENTRATION) - math.lgamma(_CONCENTRATION + sum(counts))
    for a, n, share in zip(prior, counts, shares, strict=True):
        found += math.lgamma(a + n) - math.lgamma(a) - n * math.log(share)
    return found
