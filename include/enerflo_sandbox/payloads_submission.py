"""Bodies of the v2 submission events, names and nesting as in real traffic (REFERENCE.md §10)."""

from __future__ import annotations

from typing import Any

from enerflo_sandbox import catalogue as c
from enerflo_sandbox import customer_rows, render
from enerflo_sandbox.draw import Draw
from enerflo_sandbox.payloads_v1 import InstallView
from enerflo_sandbox.payloads_v2 import envelope, identifier
from enerflo_sandbox.render import Record
from enerflo_sandbox.seeded import Era, draw_adders
from enerflo_sandbox.state import CustomerState, InstallState

_REBATE_SHARE = 0.3
_CENTS_PER_WATT = 300


def submission(event: str, view: InstallView, era: Era) -> Record:
    """Return ``deal.projectSubmitted`` or ``deal.projectReceived`` with the design as it is signed now."""
    state, customer = view.state, view.customer
    customer_uuid = customer_rows.v2_id(customer, era)
    arrays = _arrays(state, era.seed)
    # Another design of the same deal is another design and another proposal.
    version = (state.deal_id, state.watts, state.battery, state.panel)
    body: Record = {
        "deal": _deal(state),
        "customer": {
            "id": customer_uuid,
            "firstName": customer.first_name,
            "lastName": customer.last_name,
        },
        "proposal": {
            "id": identifier("proposal", *version),
            "files": [],
            "pricingOutputs": _pricing(state, customer, arrays, era.seed),
            "financeProduct": _finance_product(state),
        },
        "design": {
            "id": identifier("design", *version),
            "files": [],
            "arrays": arrays,
            "totalSystemSizeWatts": state.watts,
        },
    }
    return envelope(event, state.agent, body)


def _deal(state: InstallState) -> Record:
    file_id = identifier("bill", state.deal_id)
    bucket = "https://s3.us-west-2.amazonaws.com/uploads.enerflo.io"
    signed = f"https://assets.enerflo.io/docflo_pdfs/executed/{state.deal_id}.pdf"
    return {
        "id": state.deal_id,
        "files": [
            {
                "id": file_id,
                "name": "file-1.pdf",
                "source": "full-utility-bill",
                "url": f"{bucket}/{c.ORG_UUID}/{file_id}{render.SIGNED_QUERY}",
                "isPublic": False,
            },
            {
                "id": identifier("contract", state.deal_id),
                "name": "file-2.pdf",
                "source": "signedContractFiles",
                "url": signed,
                "isPublic": True,
            },
        ],
        "shortCode": state.deal_id.replace("-", "")[:9],
        "state": {
            "hasDesign": True,
            "notes-comments": "",
            "financingStatus": "approved",
            "hasSignedContract": True,
            "hasSubmittedProject": True,
            "contractApprovalEnabled": False,
            "signedContractFiles": [{"name": "file-2.pdf", "externalUrl": signed}],
        },
        "salesRep": {"id": identifier("user", state.agent)},
    }


def _arrays(state: InstallState, seed: int) -> list[Record]:
    """Return the roof's arrays; their module counts sum to the install's panel count."""
    d = Draw(seed, "arrays", state.number)
    panel = c.PANELS[state.panel]
    module = {
        "id": identifier("module", state.panel),
        "name": panel.name,
        "model": panel.model,
        "width": 1134,
        "length": 1722,
        "capacity": panel.watts,
        "thumbnail": None,
        "efficiency": 0.207,
        "degradation": 0.0055,
        "manufacturer": panel.manufacturer,
    }
    parts = 1 + d.below(min(4, state.panel_count) or 1)
    counts = [state.panel_count // parts] * parts
    counts[-1] += state.panel_count - sum(counts)
    return [
        {
            "tof": 0.79,
            "tsrf": round(0.6 + d.below(30) / 100, 4),
            "pitch": 18 + d.below(20),
            "module": module,
            "azimuth": d.below(360),
            "moduleCount": count,
            "solarAccess": 0.98,
            "inverterIndex": 0,
            "roofPlaneIndex": at,
            "panelOrientation": "UNKNOWN",
        }
        for at, count in enumerate(counts)
    ]


def _equipment(state: InstallState) -> Record:
    inverter, _, model = c.INVERTERS[state.inverter].partition(" ")
    count, _, battery = (state.battery or "0 x ").partition(" x ")
    batteries = [
        {"id": identifier("battery", battery), "name": battery, "count": int(count), "model": battery}
    ]
    return {
        "batteries": batteries if state.battery else [],
        "inverters": [
            {
                "id": identifier("inverter", state.inverter),
                "name": c.INVERTERS[state.inverter],
                "count": 1,
                "model": model,
                "isMicro": inverter == "Enphase",
                "manufacturer": inverter,
            }
        ],
        "batteryCount": int(count),
        "mountingType": "ROOF",
        "inverterCount": 1,
        "batteryPurpose": "BACKUP",
    }


def _pricing(state: InstallState, customer: CustomerState, arrays: list[Record], seed: int) -> Record:
    gross = (state.cost_cents if state.cost_cents is not None else state.watts * _CENTS_PER_WATT) / 100
    down = 0.4
    finance = round(gross - down, 2)
    rebates = round(gross * _REBATE_SHARE, 2)
    adders = _adders(state, seed)
    totals = {
        "systemAddersTotal": sum(row["amount"] for row in adders["calculatedSystemAdders"]),
        "valueAddersTotal": sum(row["amount"] for row in adders["calculatedValueAdders"]),
    }
    return {
        "deal": {
            "org": {"id": c.ORG_UUID},
            "state": {"hasDesign": True, "noDocumentsToSign": False, "hasCreatedProposal": True},
            "installer": {"id": c.ORG_UUID},
            "projectAddress": _project_address(customer),
        },
        "design": {
            "arrays": arrays,
            "offset": 1.05,
            **_equipment(state),
            "totalSystemSizeWatts": state.watts,
            "cumulativeSystemSizeWatts": state.watts,
        },
        "netCost": round(finance - rebates, 2),
        "taxRate": 0,
        "baseCost": round(gross - totals["systemAddersTotal"] - totals["valueAddersTotal"], 2),
        "grossPPW": round(gross / state.watts, 2),
        "dealerFee": 0,
        "grossCost": gross,
        "downPayment": down,
        "financeCost": finance,
        "rebatesTotal": rebates,
        "financeMethod": {"id": "CashFinancePlugin", "pluginName": "CashFinancePlugin"},
        "systemSizeWatts": state.watts,
        **totals,
        **adders,
    }


def _project_address(one: CustomerState) -> Record:
    postal: Any = int(one.zip) if one.zip.isdigit() else one.zip
    return {
        "lat": float(one.lat) if one.lat else None,
        "lng": float(one.lng) if one.lng else None,
        "city": one.city,
        "line1": one.address,
        "line2": None,
        "line3": None,
        "state": one.state,
        "country": "US",
        # A number, so the zero of 02139 is gone (REFERENCE.md §10).
        "postalCode": postal,
        "fullAddress": f"{one.address}, {one.city}, {one.state}, {one.zip}",
    }


def _adders(state: InstallState, seed: int) -> Record:
    _, chosen = draw_adders(Draw(seed, "submitted-adders", state.number))
    priced = [
        _adder(adder.name, adder.cost * adder.quantity) for adder in chosen if adder.active and adder.cost
    ]
    # -1 means that the inputs of the price are missing: no price at all (REFERENCE.md §10).
    offered = [{**_adder(name, -1), "dynamicInputsSatisfied": False} for _, name, _ in c.ADDERS[:3]]
    return {
        "calculatedValueAdders": priced[1:],
        "calculatedSystemAdders": priced[:1],
        "calculatedAvailableValueAdders": offered,
    }


def _adder(name: str, amount: int) -> Record:
    key = identifier("adder", name)
    return {
        "id": key,
        "name": name,
        "orgId": c.ORG_UUID,
        "amount": amount,
        "uniqueKey": key,
        "displayName": name,
        "dynamicInputsSatisfied": True,
    }


def _finance_product(state: InstallState) -> Record:
    name = c.LENDERS[state.number % len(c.LENDERS)]
    return {
        "id": identifier("lender", name),
        "name": name,
        "status": "ACTIVE",
        "termMonths": 0,
        "financeMethod": "CashFinancePlugin",
        "dealerFeePercent": 0,
    }
