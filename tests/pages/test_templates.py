"""The templates of all pages: what only some visitor's page would show to be wrong."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, nodes

ROOT = Path(__file__).parents[2]


def test_every_macro_is_called_with_all_that_it_needs() -> None:
    """An argument that is missing ends the page with an error, for those who see that part of it."""
    parsed = {
        path: Environment(autoescape=True).parse(path.read_text())
        for folder in ("include", "plugins")
        for path in (ROOT / folder).rglob("*.j2")
    }
    needed: dict[str, list[set[str]]] = {}
    for tree in parsed.values():
        for macro in tree.find_all(nodes.Macro):
            names = [one.name for one in macro.args]
            needed.setdefault(macro.name, []).append(set(names[: len(names) - len(macro.defaults)]))
    calls = 0
    for path, tree in parsed.items():
        for call in tree.find_all(nodes.Call):
            name = getattr(call.node, "attr", getattr(call.node, "name", ""))
            for wanted in needed.get(name, ()):
                calls += 1
                given = len(call.args) + len(wanted & {one.key for one in call.kwargs})
                assert given >= len(wanted), f"{path.name}:{call.lineno}: {name} wants {sorted(wanted)}"
    assert calls > 100
