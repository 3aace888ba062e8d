"""The two-letter codes of the US states and territories, as Enerflo accepts them (REFERENCE.md §6.4)."""

from __future__ import annotations

_NAMES = """
AL Alabama|AK Alaska|AZ Arizona|AR Arkansas|CA California|CO Colorado|CT Connecticut|DE Delaware
DC District of Columbia|FL Florida|GA Georgia|HI Hawaii|ID Idaho|IL Illinois|IN Indiana|IA Iowa|KS Kansas
KY Kentucky|LA Louisiana|ME Maine|MD Maryland|MA Massachusetts|MI Michigan|MN Minnesota|MS Mississippi
MO Missouri|MT Montana|NE Nebraska|NV Nevada|NH New Hampshire|NJ New Jersey|NM New Mexico|NY New York
NC North Carolina|ND North Dakota|OH Ohio|OK Oklahoma|OR Oregon|PA Pennsylvania|RI Rhode Island
SC South Carolina|SD South Dakota|TN Tennessee|TX Texas|UT Utah|VT Vermont|VA Virginia|WA Washington
WV West Virginia|WI Wisconsin|WY Wyoming|PR Puerto Rico|GU Guam|VI Virgin Islands|AS American Samoa
MP Northern Mariana Islands
"""
_PAIRS = [line.split(" ", 1) for line in _NAMES.strip().replace("\n", "|").split("|")]
_CODES = {code.casefold(): code for code, _ in _PAIRS} | {name.casefold(): code for code, name in _PAIRS}


def state_code(text: str) -> str | None:
    """Return the code of a state from its code or full name, in any letter case; None if it is neither."""
    return _CODES.get(" ".join(text.replace(".", "").split()).casefold())
