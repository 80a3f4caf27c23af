"""The simulated rule is the engine's, and the page says what was found."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.rollouts import cells, figures, ours, page, rivals
from benchmarks.rollouts import worlds as w
from benchmarks.rollouts.cost import measure
from sabia.rollout.counters import Counters, Gateway, Scrape
from sabia.rollout.events import Looked, Moved, Started
from sabia.rollout.plan import from_mapping
from sabia.rollout.state import initial_state
from sabia.rollout.transition import advance

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "world",
    [w.worse(100, 0.01, 0.03), w.bursts(100, 10), next(x for x in w.nulls(10) if x.name == "outage of both")],
    ids=lambda world: world.name,
)
def test_the_simulated_evidence_is_the_engines_at_every_look(world: w.World) -> None:
    batches, expected = ours.log_e_by_look(world, 30, 0.10, seed=5)
    plan = from_mapping({"model": "m", "stable": "1.0", "canary": "2.0", "steps": [10], "watch": {"errors": {}}})
    state = initial_state(Started(plan, {"1.0": 100, "2.0": 0}, "test"))
    counted = {"1.0": [0, 0], "2.0": [0, 0]}
    weights = {"1.0": 90, "2.0": 10}

    def scrape() -> Scrape:
        arms = {version: {"one": Counters(n, x)} for version, (n, x) in counted.items()}
        return Scrape(arms, {version: Gateway(n, x) for version, (n, x) in counted.items()})

    state = advance(plan, state, Looked(scrape(), {"1.0": 100, "2.0": 0}))
    state = advance(plan, state, Moved(weights, scrape())).replace(paused="to see every look")
    for (n0, n1, x0, x1), log_e in zip(batches, expected, strict=True):
        for version, n, x in (("1.0", n0, x0), ("2.0", n1, x1)):
            counted[version][0] += n
            counted[version][1] += x
        state = advance(plan, state, Looked(scrape(), weights, 15.0))
        assert state.lines["2.0"].errors.harm.log_e == pytest.approx(log_e, abs=1e-9)
        if state.phase != "Stepping":
            break


def test_the_whole_page_is_made_and_every_promise_has_a_line(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    size = cells.Size(nulls=20, dense=20, rivals=20, others=20)
    nulls = [cells.null_shares(job) for job in cells.null_jobs(size)[:3]]
    nulls += [cells.null_shares(job) for job in cells.null_jobs(size) if "bursts of 3" in job[0] or "20 rps" in job[0]]
    nulls += [cells.null_shares((f"{kind}: steady", 2.0, 20)) for kind in ("latency", "predictions")]
    found = {name: call(size) for name, call in cells.TABLES.items()}
    text, promised = page.write(folder, nulls, found, measure(), "tiny")
    assert [target.name for target in promised] == ["T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T12", "T13"]
    assert all(rule in text for rule in rivals.RULES)
    assert (folder / page.PAGE).read_text() == text
    assert (folder / page.PLOT).read_bytes().startswith(b"<?xml")


def test_bounds_are_those_of_clopper_and_pearson() -> None:
    """The rule of three, and the table's own example: 10 of 100 at 95 %, two sides, is 4.90 to 17.62 %."""
    assert figures.upper(0, 1000, 0.95) == pytest.approx(0.00299, abs=1e-5)
    assert figures.upper(10, 100, 0.975) == pytest.approx(0.1762, abs=1e-4)
    assert figures.lower(10, 100, 0.975) == pytest.approx(0.0490, abs=1e-4)


def test_the_same_seed_gives_the_same_figures() -> None:
    once, again = (ours.errors(w.worse(10, 0.001, 0.02), 30, cells.seeded("same")).rolled_back for _ in range(2))
    assert np.array_equal(once, again, equal_nan=True)


def test_a_threshold_rolls_back_what_is_over_it_and_promotes_what_is_not() -> None:
    rule = rivals.RULES["Flagger, tutorial"]
    broken, fine = (rule(w.worse(100, 0.001, p), 20, cells.seeded("flagger")) for p in (0.5, 0.0))
    assert set(broken.rolled_back) == {300.0}
    assert set(fine.promoted) == {300.0}
