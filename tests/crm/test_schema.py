"""The JSON schema that editors show is the one of the models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from enerflo_sync.crm.config import json_schema

FOLDER = Path("include/config")


def test_the_committed_schema_is_the_generated_one() -> None:
    assert json.loads((FOLDER / "sync.schema.json").read_text()) == json_schema()


def test_the_shipped_file_names_its_schema_first() -> None:
    first = (FOLDER / "sync.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=sync.schema.json"


def test_every_option_is_described() -> None:
    def undescribed(node: Any, place: str) -> list[str]:
        options = node.get("properties", {})
        return [f"{place}.{name}" for name, option in options.items() if not described(option)]

    def described(option: Any) -> bool:
        # A section whose option says what its own description says refers to it alone.
        target = schema["$defs"].get(option.get("$ref", "").rpartition("/")[2], {})
        return bool(option.get("description") or target.get("description"))

    schema = json_schema()
    found = [place for name, node in schema["$defs"].items() for place in undescribed(node, name)]
    assert found + undescribed(schema, "") == []
    assert len(schema["$defs"]) > 10
