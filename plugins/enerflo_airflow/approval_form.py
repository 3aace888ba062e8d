"""The form of an approval: its fields besides yes and no, and their meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from enerflo_airflow.forms import FormField
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.plan.parts import HOW, Part, Rest

FORM = {
    "only": FormField(
        "",
        type=["string", "null"],
        title="Only this part",
        description=f"Decide about this part alone; several are separated by commas. {HOW}",
        source="task",
    ),
    "except": FormField(
        "",
        type=["string", "null"],
        title="All but this part",
        description="Decide about everything else; written in the same way.",
        source="task",
    ),
    "rest": FormField(
        "open",
        type="string",
        enum=["open", "refuse"],
        title="What was not chosen",
        description="Stays open and is asked about again, or is refused.",
        source="task",
    ),
    "because": FormField(
        "",
        type=["string", "null"],
        title="Why, for a no",
        description="The ledger and the plans to come name the reason.",
        source="task",
    ),
}


def answered_form(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the answers of the approval's form, with defaults for missing fields.

    :raises ConfigurationError: a field is unknown.
    """
    given = given or {}
    if unknown := sorted(given.keys() - FORM.keys()):
        raise ConfigurationError(
            f"the field {', '.join(unknown)} is not known.",
            where="the answer",
            next_step=f"Choose among {', '.join(FORM)}.",
        )
    return {name: given.get(name) or param.value or "" for name, param in FORM.items()}


def form_of(part: Part) -> dict[str, str]:
    """Return the form's fields that select a part of a plan."""
    return {"only": ", ".join(part.only), "except": ", ".join(part.without), "rest": str(part.rest)}


def chosen_part(form: Mapping[str, Any]) -> Part:
    """Return the part of a plan that an answered form selects.

    :raises ConfigurationError: the value for the rest is unknown.
    """
    try:
        rest = Rest(form["rest"] or Rest.OPEN)
    except ValueError:
        raise ConfigurationError(
            "the rest is left open, or refused.", where="rest", next_step="Write open or refuse."
        ) from None
    return Part(_selectors(form["only"]), _selectors(form["except"]), rest)


def _selectors(text: str) -> list[str]:
    return [one.strip() for one in re.split(r"[,\n]", text) if one.strip()]
