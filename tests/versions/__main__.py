"""Try the wheel with each Python of this machine and with other versions of its packages: ``make versions``.

A Python that is not here is said, and costs nothing else. Ends with 1 where a test failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.install.place import OTHER_VERSIONS
from tests.supply_chain import uv_program
from tests.versions.environments import ENVIRONMENTS, PARSED, QUICK, ROOT, WALKS, Environment, Packages, make
from tests.versions.interpreters import interpreter

FOLDER = ROOT / ".versions"
_ABOUT = """
import platform
from importlib.metadata import version
print(f"Python {platform.python_version()}, Airflow {version('apache-airflow')}")
"""


def main() -> None:
    """Run what is asked for, and print one line for each environment at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [one.name for one in ENVIRONMENTS]
    parser.add_argument(
        "--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--short", action="store_true", help="the newest Python alone, a few minutes")
    parser.add_argument("--tests", nargs="+", metavar="FILE", help="these tests instead of the chosen ones")
    asked = parser.parse_args()
    uv = uv_program()
    if uv is None:
        raise SystemExit("uv is missing: make sync fetches it")
    FOLDER.mkdir(exist_ok=True)
    wheels = build(uv)
    lines, failed = [], False
    for environment in ENVIRONMENTS:
        chosen = environment.short if asked.short else (*WALKS, *PARSED, *QUICK)
        tests = tuple(asked.tests or chosen)
        if environment.name not in asked.only or not tests:
            continue
        python = interpreter(environment.python)
        if python is None:
            lines.append(f"NOT CHECKED  {environment.name}: there is no Python {environment.python} here")
            continue
        began = time.monotonic()
        good, about = tried(environment, make(environment, python, uv, wheels, FOLDER), uv, tests)
        failed |= not good
        seconds = time.monotonic() - began
        lines.append(f"{'passed' if good else 'FAILED':11}  {environment.name}: {about}, {seconds:.0f} s")
    print("\n".join(["", "Versions of Python and of the packages:", *lines]), flush=True)
    sys.exit(failed)


def build(uv: str) -> list[Path]:
    """Return the two wheels, built now."""
    target = FOLDER / "dist"
    command = [uv, "build", "--quiet", "--wheel", "--all-packages", "--out-dir", str(target)]
    subprocess.run(command, cwd=ROOT, check=True)
    return sorted(target.glob("*.whl"))


def tried(environment: Environment, venv: Path, uv: str, tests: tuple[str, ...]) -> tuple[bool, str]:
    """Run the tests in an environment; return whether all passed, and which versions they ran with."""
    python = str(venv / "bin" / "python")
    about = subprocess.run([python, "-c", _ABOUT], capture_output=True, text=True, check=True).stdout.strip()
    print(f"\n{environment.name}: {about}, packages: {environment.packages}", flush=True)
    path = os.pathsep.join((str(venv / "bin"), os.environ["PATH"], str(Path(uv).parent)))
    environ = os.environ | {"PATH": path, "PYTHONPATH": os.pathsep.join(map(str, _sources()))}
    if environment.packages is not Packages.LOCKED:
        environ[OTHER_VERSIONS] = str(FOLDER / f"{environment.packages.name.lower()}.txt")
    command = [python, "-m", "pytest", "-n", "2", "--dist", "loadfile", *tests]
    return subprocess.run(command, cwd=ROOT, env=environ).returncode == 0, about


def _sources() -> tuple[Path, ...]:
    return ROOT, ROOT / "include", ROOT / "plugins"


if __name__ == "__main__":
    main()
