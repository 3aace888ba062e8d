"""What the program is made of: a bill of materials (CycloneDX) and the licences of all packages.

``python -m tests.supply_chain sbom FILE`` writes the bill of what a server needs, from ``uv.lock``;
``python -m tests.supply_chain licences`` prints package, version and licence of all that is installed here;
``python -m tests.supply_chain look`` looks for known weaknesses of what is locked, and for licences that are not allowed, and
ends by a sentence that says what to do: exit code 1 where a person has to do something, 2 where nothing could be checked.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OWN = {"enerflo-sync", "enerflo-sandbox"}
# What a server has; the others are for the development, or for one kind of CRM or bucket.
EXTRAS = ("airflow", "quality", "receiver", "s3", "metrics", "mysql", "duckdb", "snowflake", "pandas")

# Licences under which a package may be used in a product that is not open: those that ask for a notice, and those whose
# conditions end at the package's own files (MPL) or at the library that is loaded (LGPL).
ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "ISC", "MIT", "MIT-0"),
    *("PSF-2.0", "Unlicense", "Zlib"),
    *("MPL-2.0", "LGPL-2.1-or-later", "LGPL-3.0-only"),
}

# What packages write that do not use SPDX's names. A licence's family without a version is named by its usual text.
_NAMES = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "artistic license": "Artistic-1.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "gnu general public license (gpl)": "GPL-2.0-or-later",
    "gnu general public license v2 or later (gplv2+)": "GPL-2.0-or-later",
    "gnu library or lesser general public license (lgpl)": "LGPL-2.1-or-later",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
}
# Classifiers that name no licence.
_NO_LICENCE = {"dfsg approved", "osi approved"}

# Packages whose metadata says nothing or too little, with the licence that their own files name.
STATED = {
    # LICENSE in the wheel.
    "axe-playwright-python": "MIT",
    # The wheel names none; the project's other package, openlineage-python, is Apache-2.0.
    "openlineage-sql": "Apache-2.0",
    # LICENSE in the wheel.
    "promql-parser": "MIT",
}
# Packages under none of the allowed licences, and why each is permitted.
PERMITTED = {
    # Brought by python-slugify, which Airflow needs; the Artistic licence may be chosen instead of the GPL.
    "text-unidecode": "Artistic-1.0",
}


@dataclass(frozen=True)
class Package:
    """An installed package, with its licence as an expression of SPDX's names; empty where it names none."""

    name: str
    version: str
    licence: str

    @property
    def allowed(self) -> bool:
        """Return whether its licence is allowed, or the package permitted by name."""
        return self.name in PERMITTED or _is_allowed(self.licence)


def packages() -> list[Package]:
    """Return all packages that are installed here, without our own."""
    found = {}
    for one in distributions():
        name = re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower()
        if name not in OWN:
            found[name] = Package(
                name, one.version, PERMITTED.get(name) or STATED.get(name) or licence_of(one)
            )
    return [found[name] for name in sorted(found)]


def licence_of(one: Distribution) -> str:
    """Return a package's licence from its metadata: the expression, else the classifiers, else the text."""
    metadata = one.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classified = [
        name.rpartition(" :: ")[2] for name in metadata.get_all("Classifier") or () if "License ::" in name
    ]
    named = [name for name in classified if name.casefold() not in _NO_LICENCE]
    if named:
        return " OR ".join(sorted({_spdx(name) for name in named}))
    text = (metadata.get("License") or "").strip()
    return _spdx(text) if text and "\n" not in text else ""


def _spdx(name: str) -> str:
    return _NAMES.get(name.casefold().strip(), name.strip())


def _is_allowed(expression: str) -> bool:
    """Return whether every part of an expression is allowed, of alternatives one of them."""
    bare = expression.replace("(", " ").replace(")", " ")
    return bool(bare.strip()) and all(
        any(name.strip() in ALLOWED for name in part.split(" OR ")) for part in bare.split(" AND ")
    )


def uv_program() -> str | None:
    """Return the path of uv, as the Makefile finds it; None where there is none."""
    own = os.environ.get("UV") or shutil.which("uv")
    return own or next((str(path) for path in (ROOT / ".uv/bin/uv",) if path.exists()), None)


def bill_of_materials(uv: str) -> dict[str, Any]:
    """Return the bill of materials of what a server needs, as CycloneDX, with licences where a package is here."""
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    command = [
        uv,
        "export",
        "--quiet",
        "--frozen",
        "--offline",
        "--no-dev",
        "--format",
        "cyclonedx1.5",
        *extras,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    bill: dict[str, Any] = json.loads(done.stdout)
    known = {(one.name, one.version): one.licence for one in packages()}
    for component in bill.get("components", ()):
        if licence := known.get((component["name"], component.get("version", ""))):
            component["licenses"] = [{"expression": licence}]
    return bill


def look(uv: str, *options: str) -> int:
    """Compare what is locked with the advisories, and print what to do; return the exit code.

    :param options: of ``uv audit``.
    """
    refused = [one for one in packages() if not one.allowed]
    for one in refused:
        print(f"{one.name} {one.version}: {one.licence or 'names no licence'}, which is not allowed.")
    if refused:
        print(
            "Replace the package, or add its licence to ALLOWED or PERMITTED in tests/supply_chain.py, with the reason."
        )
    command = [uv, "audit", "--frozen", "--preview-features", "audit", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said = f"{done.stdout}{done.stderr}".strip()
    if done.returncode == 0:
        print(said)
        return 1 if refused else 0
    print(said)
    if done.returncode == 1:
        print(
            "Take the fixed versions (uv lock --upgrade-package NAME), run make check and make test, and build the images"
            " again. Where there is no fix: docs/security.md, Packages."
        )
        return 1
    print(
        "Nothing was checked: the advisories were not reached. Allow https://api.osv.dev from this machine, or run it on"
        " another one."
    )
    return 2


def main(words: list[str]) -> int:
    """Run one of the three commands."""
    if words[:1] == ["licences"]:
        for one in packages():
            print(
                f"{one.name:45} {one.version:20} {one.licence or 'names none'}{'' if one.allowed else '  NOT ALLOWED'}"
            )
        return 0 if all(one.allowed for one in packages()) else 1
    uv = uv_program()
    if words[:1] == ["look"] and uv is not None:
        return look(uv, *words[1:])
    if words[:1] != ["sbom"] or len(words) != 2 or uv is None:
        print(__doc__ if uv else "uv is missing: make sync fetches it.", file=sys.stderr)
        return 2
    bill = bill_of_materials(uv)
    Path(words[1]).write_text(json.dumps(bill, indent=2) + "\n")
    print(f"{words[1]}: {len(bill['components'])} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
