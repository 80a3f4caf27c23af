"""The modules of the library import each other one way."""

from __future__ import annotations

import grimp
import pytest


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Who imports whom, imports within functions and for types included."""
    return grimp.build_graph("sabia", cache_dir=None)


def circles(graph: grimp.ImportGraph) -> list[set[str]]:
    """The sets of modules that import each other in a circle."""
    left = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    changed = True
    while changed:
        # What imports nothing of the rest is in no circle.
        free = {module for module, imported in left.items() if not imported & left.keys()}
        left = {module: imported for module, imported in left.items() if module not in free}
        changed = bool(free)
    return [{module, *imported & left.keys()} for module, imported in left.items()]


def test_no_module_imports_itself_by_way_of_others(graph: grimp.ImportGraph) -> None:
    assert len(graph.modules) > 100
    assert circles(graph) == []


def test_a_circle_would_be_found() -> None:
    graph = grimp.ImportGraph()
    for importer, imported in (("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")):
        graph.add_import(importer=importer, imported=imported)
    assert {"b", "c"} in circles(graph)
