"""Great Expectations counts what whole runs judged: said once for each run, and not in every order."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

# A run of which an order is left that was not counted is counted again as a whole.
_COUNTED = """
update sync.quality_runs r set validated_by = r.run_id where not exists (
  select from sync.change_order_facts f
  where f.account = r.account and f.run_id = r.run_id and not f.validated)
"""


def upgrade() -> None:
    """Move the flag from the orders to the runs."""
    op.add_column("quality_runs", sa.Column("validated_by", sa.Text(), nullable=True), schema="sync")
    op.create_index(
        "change_order_facts_run", "change_order_facts", ["account", "run_id"], unique=False, schema="sync"
    )
    op.execute(_COUNTED)
    op.drop_index("change_order_facts_install", "change_order_facts", schema="sync")
    op.drop_index("change_order_facts_new", "change_order_facts", schema="sync")
    op.drop_column("change_order_facts", "validated", schema="sync")
