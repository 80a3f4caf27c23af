"""Which acts the demo runs."""

from __future__ import annotations

from sabia.demo.flights import RECIPE, THREE
from sabia.demo.run import acts
from sabia.training.recipe import read


def test_the_demo_has_two_acts() -> None:
    assert acts(None, has_flights=True) == ((1, 2), "")


def test_without_flights_the_demo_runs_its_first_act_and_says_what_to_install_for_the_second() -> None:
    chosen, line = acts(None, has_flights=False)
    assert chosen == (1,)
    assert line == "The second act needs a year of flights: pip install 'sabia[flights]'."


def test_an_act_that_is_asked_for_is_the_only_one() -> None:
    assert acts(1, has_flights=False) == ((1,), "")
    assert acts(2, has_flights=False) == ((2,), "")


def test_no_version_of_flights_knows_when_its_flight_lands() -> None:
    recipe = read(RECIPE)
    assert recipe.data is not None
    assert recipe.data.columns is not None
    assert {"landing", "late"}.isdisjoint(recipe.data.columns)
    assert [step.note.partition(" ")[0] for step in recipe.versions] == THREE
