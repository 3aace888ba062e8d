"""The fixed lists of the company: statuses, milestones, people, offices, equipment, places."""

from __future__ import annotations

from typing import NamedTuple

COMPANY_ID = 1300
EPC_COMPANY_ID = 3104
ORG_UUID = "88888888-0e5f-4996-8f74-28c75ddb48b9"

# 4 and 323 are real ids (REFERENCE.md §7); the others stand for ids that differ in every company.
IN_PROGRESS, COMPLETED, VOIDED, CANCELLED, ON_HOLD, PENDING_KCA = 1301, 1302, 1303, 1304, 4, 323
STATUSES: dict[int, str] = {
    IN_PROGRESS: "In progress",
    COMPLETED: "Completed",
    VOIDED: "Voided",
    CANCELLED: "Cancelled",
    ON_HOLD: "On Hold",
    PENDING_KCA: "Pending KCA",
}
# A status that records carry although the status endpoint does not list it.
UNLISTED_STATUS_ID = 99999
UNLISTED_STATUS_NAME = "Awaiting Moon Phase"

CUSTOMER_STATUSES: tuple[tuple[int, str], ...] = (
    (11, "New Lead"),
    (12, "Contacted"),
    (13, "Proposal Sent"),
    (14, "Signed"),
)
SIGNED_CUSTOMER = CUSTOMER_STATUSES[3]


class MilestoneDefinition(NamedTuple):
    """One checkpoint that the installer's admins defined (REFERENCE.md §8)."""

    milestone_id: int
    sequence: int
    title: str
    description: str


MILESTONES: tuple[MilestoneDefinition, ...] = (
    MilestoneDefinition(
        3902, 1, "Engineering", "Our engineering team is preparing the plans for your solar installation."
    ),
    MilestoneDefinition(3903, 2, "Permitting", "Your plans are with the city for their building permit."),
    MilestoneDefinition(3904, 3, "Interconnection", "Your utility is reviewing the request to connect."),
    MilestoneDefinition(3905, 4, "Installation", "Our crew installs the panels, inverter and battery."),
    MilestoneDefinition(3906, 5, "Inspection", "The inspector of the city visits and signs the permit card."),
    MilestoneDefinition(3907, 6, "Permission to Operate", "Your utility lets you switch the system on."),
)
MILESTONE_POSITION = {definition.milestone_id: at for at, definition in enumerate(MILESTONES)}


class Panel(NamedTuple):
    """A solar module and its rated power in watts."""

    manufacturer: str
    model: str
    watts: int

    @property
    def name(self) -> str:
        """Return manufacturer and model, as ``equipment.panel`` shows them."""
        return f"{self.manufacturer} {self.model}"


PANELS: tuple[Panel, ...] = (
    Panel("Qcells", "Q.PEAK DUO BLK ML-G10+ 400", 400),
    Panel("REC", "Alpha Pure 405", 405),
    Panel("Silfab", "SIL-430 QD", 430),
    Panel("Jinko", "JKM410M-54HL4", 410),
    Panel("Canadian Solar", "HiKu6 CS6R-395MS", 395),
)
INVERTERS = ("Enphase IQ8PLUS", "SolarEdge SE7600H", "Tesla Solar Inverter 7.6")
BATTERIES = ("Powerwall 3", "IQ Battery 5P", "Franklin aPower 2")
ADDERS: tuple[tuple[int, str, int], ...] = (
    (986, "Customer Concierge Fee", 300),
    (987, "Main Panel Upgrade", 2800),
    (988, "EV Charger", 1450),
    (989, "Critter Guard", 650),
    (990, "Tile Roof", 1900),
)

FIRST_NAMES = (
    *("Ada", "Grace", "Alan", "Edsger", "Barbara", "José"),
    *("Mary", "Radia", "Zoë", "Ken", "Tony", "Lin"),
)
LAST_NAMES = (
    *("Lovelace", "Hopper", "Turing", "Dijkstra", "Liskov"),
    *("Núñez", "O'Neil", "Perlman", "Ritchie", "Wei"),
)
STREETS = ("Main St", "Oak Ave", "Sunset Blvd", "Mesa Dr", "Canyon Rd", "2nd St", "Juniper Ct", "Bay Ln")
# City, state, zip, latitude, longitude; the leading zero of 02139 is lost by careless readers.
PLACES: tuple[tuple[str, str, str, str, str], ...] = (
    ("Austin", "TX", "78701", "30.27110000", "-97.74370000"),
    ("Phoenix", "AZ", "85004", "33.44840000", "-112.07400000"),
    ("Cambridge", "MA", "02139", "42.36470000", "-71.10320000"),
    ("San Diego", "CA", "92101", "32.71570000", "-117.16110000"),
    ("Tampa", "FL", "33602", "27.95060000", "-82.45720000"),
    ("Denver", "CO", "80202", "39.73920000", "-104.99030000"),
)
UTILITIES = ("Austin Energy", "APS", "Eversource", "SDG&E", "TECO", "Xcel Energy")
LENDERS = ("Sunlight Financial", "GoodLeap", "Mosaic", "Cash")


class User(NamedTuple):
    """A person with a login; ``junction_id`` is the company-user row, another id (REFERENCE.md §5)."""

    user_id: int
    junction_id: int
    first_name: str
    last_name: str
    office: int

    @property
    def name(self) -> str:
        """Return first and last name."""
        return f"{self.first_name} {self.last_name}"

    @property
    def email(self) -> str:
        """Return the user's address at a reserved domain."""
        return f"user.{self.user_id}@example.com"


OFFICES: tuple[tuple[int, str], ...] = (
    (2101, "Austin North"),
    (2102, "Phoenix"),
    (2103, "Boston"),
    (2104, "San Diego"),
)
USERS: tuple[User, ...] = tuple(
    User(145000 + at, 102400 + at, FIRST_NAMES[at % 12], LAST_NAMES[at * 7 % 10], at % len(OFFICES))
    for at in range(240)
)
NOTE_TEXTS = (
    "@{name} please review the plans for {city}.",
    "Roof - PASS - shingles are new\nElectrical - PASS",
    "Roof - PASS\nElectrical - FAIL - panel is full",
    "Customer asked to move the install to next week.",
    "Permit submitted, number {number}.",
    "Called the utility, waiting for the meter date.",
    "Sent the roof quote to {name}.",
    "HOA approval received \u2013 upload to follow.",
)
