"""The inbox: files taken in, deduplicated and archived, beside a loop that does so one by one."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.jobs import InboxJob
from benchmarks.measure import CouldNotMeasureError, Measurement, run_fresh
from benchmarks.results import WrongResultError, expect
from benchmarks.warehouse import Warehouse

Say = Callable[[str], None]
DATABASE = "bench_inbox"
# One file in so many brings an event again that came earlier.
REDELIVERED_PER = 100
# A re-delivery comes at most so many files after the first.
_LONGEST_DELAY = 5_000
WAKE_UPS = 20
# Files of the smaller folder by which the memory is judged.
FEW_PER = 5


@dataclass(frozen=True)
class Taker:
    """One way to take files in."""

    name: str
    module: str


OURS = Taker("ours", "benchmarks.peers.ours_inbox")
NAIVE = Taker("loop: read, INSERT … ON CONFLICT, commit, move", "benchmarks.peers.naive_inbox")
TAKERS = (OURS, NAIVE)


@dataclass
class InboxRuns:
    """All measurements of this kind.

    :param runs: by way, of the whole folder; ``few`` is ours with a fifth of it.
    :param looks: median seconds of a look into an empty drop, by files in the archive.
    """

    runs: dict[str, list[Measurement]] = field(default_factory=dict)
    few: list[Measurement] = field(default_factory=list)
    looks: dict[int, list[float]] = field(default_factory=dict)
    file_bytes: int = 0
    failures: list[str] = field(default_factory=list)

    def of(self, taker: Taker) -> list[Measurement]:
        """Return the runs of one way."""
        return self.runs.get(taker.name, [])


class InboxBench:
    """Measures the ways side by side on the same files.

    :param files: how many lie in the drop, a multiple of 500.
    """

    def __init__(
        self, warehouse: Warehouse, files: int, say: Say, takers: tuple[Taker, ...] = TAKERS
    ) -> None:
        self.warehouse = warehouse
        self.files = files
        self.few = files // FEW_PER
        self.result = InboxRuns()
        self._say = say
        self._takers = list(takers)
        self._folder = Path()

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Write the files once, and remove all that came of them at the end."""
        self._say(f"making {self.files:,} files")
        with tempfile.TemporaryDirectory(prefix="bench-inbox-") as folder:
            self._folder = Path(folder)
            self.result.file_bytes = plant(self._folder / "planted", self.files)
            try:
                yield
            finally:
                self.warehouse.drop(DATABASE)

    def round(self) -> None:
        """Measure every way once, and ours also with few files and with none."""
        for taker in list(self._takers):
            run = self._load(taker, self.files)
            if run is not None:
                self.result.runs.setdefault(taker.name, []).append(run)
        if OURS in self._takers:
            run = self._load(OURS, self.few)
            if run is not None:
                self.result.few.append(run)

    def _load(self, taker: Taker, files: int) -> Measurement | None:
        url = self.warehouse.migrated(DATABASE)
        drop, archive = self._folder / "drop", self._folder / "archive"
        try:
            if taker is OURS and files == self.files:
                self._look(url, drop, archive, archived=0)
            lay_out(self._folder / "planted", drop, archive, files)
            self.warehouse.settle()
            job = InboxJob(url, str(drop), str(archive))
            run = run_fresh(taker.module, job, server_cpu=self.warehouse.cpu_seconds)
            self._check(taker, run, files, drop, archive)
            if taker is OURS and files == self.files:
                self._look(url, drop, archive, archived=files)
        except (CouldNotMeasureError, WrongResultError) as error:
            self._takers.remove(taker)
            self.result.failures.append(f"{taker.name}, {files:,} files: {error}")
            self._say(f"NOT MEASURED: {self.result.failures[-1]}")
            return None
        self._say(f"inbox: {taker.name}, {files:,} files: {run.seconds:.2f} s, {run.peak_rss_mb:.0f} MB")
        return run

    def _look(self, url: str, drop: Path, archive: Path, *, archived: int) -> None:
        if not archived:
            lay_out(self._folder / "planted", drop, archive, 0)
        job = InboxJob(url, str(drop), str(archive), wake_ups=WAKE_UPS)
        run = run_fresh(OURS.module, job, server_cpu=self.warehouse.cpu_seconds)
        expect("ours, a look", "events read", run.counts["read"], 0)
        expect("ours, a look", "files archived", count_files(archive), archived)
        self.result.looks.setdefault(archived, []).append(run.counts["look"])

    def _check(self, taker: Taker, run: Measurement, files: int, drop: Path, archive: Path) -> None:
        distinct = files - files // REDELIVERED_PER
        expect(taker.name, "files read", run.counts["read"], files)
        stored = self.warehouse.row(
            DATABASE,
            "select count(*), sum(copies)::bigint, sum(install_id)::bigint,"
            " count(*) filter (where state = 'received' and body->>'id' = install_id::text)"
            " from sync.webhook_events",
        )
        ids = sum(install_of(origin(number)) for number in range(files) if origin(number) == number)
        expect(taker.name, "events, copies, sum of ids, bodies", stored, (distinct, files, ids, distinct))
        expect(taker.name, "files left in the drop", count_files(drop), 0)
        expect(taker.name, "files archived", count_files(archive), files)
        if taker is OURS:
            counts = (run.counts["state"], run.counts["applied"], run.counts["unchanged"])
            expect("ours", "state, applied, unchanged", counts, ("ok", distinct, files - distinct))
            left = self.warehouse.row(DATABASE, "select count(*) from sync.webhook_moves")
            expect("ours", "moves that are remembered", left, (0,))


def plant(folder: Path, files: int) -> int:
    """Write ``files`` payloads into a new folder and return the bytes of one."""
    folder.mkdir(parents=True)
    size = 0
    for number in range(files):
        data = payload(origin(number))
        size += len(data)
        (folder / f"{number:07d}-update_install.json").write_bytes(data)
    return size // max(1, files)


def lay_out(planted: Path, drop: Path, archive: Path, files: int) -> None:
    """Make the drop hold the first ``files`` of the planted ones, and the archive nothing."""
    for folder in (drop, archive):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for name in sorted(os.listdir(planted))[:files]:
        os.link(planted / name, drop / name)


def count_files(folder: Path) -> int:
    """Return how many files lie in and below a folder."""
    return sum(len(names) for _, _, names in os.walk(folder))


def origin(number: int) -> int:
    """Return the number of the file whose content a file has: its own but for re-deliveries."""
    if number % REDELIVERED_PER != REDELIVERED_PER - 1:
        return number
    earlier = number - 1 - number * 37 % min(number, _LONGEST_DELAY)
    return earlier - 1 if earlier % REDELIVERED_PER == REDELIVERED_PER - 1 else earlier


def install_of(number: int) -> int:
    """Return the id of the install that a file's event is about."""
    return 4_400_001 + number % 40_000


def payload(number: int) -> bytes:
    """Return an ``update_install`` of about 2 KB as PHP writes it: keys unsorted, slashes escaped.

    The shape is that of real traffic (REFERENCE.md §9), with the survey's data of the vendor's dictionary.
    """
    return json.dumps(_event(number), separators=(",", ":")).replace("/", "\\/").encode()


def _event(number: int) -> dict[str, Any]:
    day, minute, second = number // 3600 % 28 + 1, number // 60 % 60, number % 60
    times = {
        "deleted_at": None,
        "created_at": "2026-01-08 20:18:48",
        "updated_at": f"2026-{number // 100_800 % 12 + 1:02d}-{day:02d} 10:{minute:02d}:{second:02d}",
        "timezone": "UTC",
    }
    survey = 2_200_001 + number % 40_000
    return {
        "webhook_event": "update_install",
        "id": install_of(number),
        "status": {"id": 323 + number % 9, "name": "Pending KCA"},
        "sales_company_id": 1300,
        "install_company_id": 1300,
        "office_id": 1300,
        "market_id": 102000,
        "deal_id": survey,
        "agreement_id": 570_001 + number,
        "customer": _customer(number, times),
        "agent": {
            "id": 19_000 + number % 300,
            "first_name": "Test",
            "last_name": f"Agent {number % 300}",
            "full_name": f"Test Agent {number % 300}",
            "email": f"agent.{number % 300}@example.com",
            "phone": "5555550101",
            "timezone": "America/Chicago",
            "deleted_at": None,
            "created_at": "2021-11-08 19:40:21",
            "updated_at": "2024-06-08 23:51:18",
        },
        "survey_url": f"https://enerflo.example/survey/menu/{survey}",
        "proposal_url": f"https://enerflo.example/surveyreport/show/company/{survey}",
        "agreement_url": f"https://assets.example/docflo_pdfs/executed/{number * 7919:032x}.pdf",
        "solarData": _survey_data(number),
        "formattedFields": [],
        "timestamps": times,
    }


def _customer(number: int, times: dict[str, Any]) -> dict[str, Any]:
    street = f"{number % 9_000 + 100} Example Dr"
    return {
        "id": 2_500_001 + number % 40_000,
        "external_id": None,
        "first_name": "Test",
        "last_name": f"Customer {number % 40_000}",
        "full_name": f"Test Customer {number % 40_000}",
        "email": f"customer.{number % 40_000}@example.com",
        "phone": "(555) 555-0100",
        "address": {
            "street": street,
            "city": "Sampletown",
            "state": "IA",
            "zip": "50000",
            "county": "Example County",
            "full_address": f"{street} Sampletown, IA 50000",
            "latitude": f"40.{number * 31 % 10**8:08d}",
            "longitude": f"-90.{number * 17 % 10**8:08d}",
        },
        "customer_timezone": "America/Chicago",
        "lead_source": "enzy",
        "timestamps": times,
    }


def _survey_data(number: int) -> dict[str, Any]:
    panels = 12 + number % 30
    return {
        "panel_id": 3450,
        "utility_id": 53,
        "inverter_id": 1415,
        "lender_picker": 29583,
        "solar_system_size": panels * 0.41,
        "solar_design_notes": "Main panel upgrade may be needed. Roof was replaced in 2019, gutters in 2021."
        " Two arrays, south and west; the west one stays clear of the chimney. Dog in the yard: call ahead.",
        "solar_data_panel_count": panels,
        "solar_data_solar_offset": 0.97,
        "solar_data_current_usage": 9_000 + number % 7_000,
        "solar_data_inverter_count": panels,
        "solar_data_system_production": panels * 594.5,
        "solar_data_total_cost_after_fees": 41_250.75,
    }
