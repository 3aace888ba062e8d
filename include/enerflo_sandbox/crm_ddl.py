"""The demo's ``crm`` tables and the record of what was planted in them, as SQL."""

from __future__ import annotations

CRM_TABLES = ("leads", "installs", "milestones", "notes", "change_orders")

# crm.installs has no unique key where two rows of one install are to be planted (duplicate_identity).
CREATE_CRM = """
-- enerflo-sync sandbox crm-tables: the demo's CRM (design §5)
create schema if not exists crm;
create table crm.leads (
    lead_id text primary key,
    first_name text,
    last_name text,
    email text,
    mobile text,
    address text,
    city text,
    state text,
    zip text,
    status text not null check (status in ('new', 'working', 'qualified', 'unqualified')),
    deal_type_id bigint,
    enerflo_customer_id bigint,
    updated_at timestamptz not null
);
create table crm.installs (
    enerflo_install_id bigint not null,
    deal_id text,
    customer_name text,
    status text,
    system_size_kw numeric,
    panel_type text,
    panel_count integer,
    battery_configuration text,
    contract_amount numeric(14, 2),
    updated_at timestamptz not null
);
create table crm.milestones (
    enerflo_install_id bigint not null,
    milestone_id bigint not null,
    title text,
    started_at timestamptz,
    due_at timestamptz,
    completed_at timestamptz,
    updated_at timestamptz not null
);
create table crm.notes (
    note_id text not null,
    enerflo_install_id bigint,
    enerflo_note_id bigint,
    author text,
    body text,
    created_at timestamptz,
    updated_at timestamptz not null
);
create table crm.change_orders (
    enerflo_change_order_id bigint not null,
    enerflo_install_id bigint,
    status text,
    signed_at timestamptz,
    panel_type text,
    panel_count integer,
    battery_configuration text,
    adders jsonb not null default '[]',
    updated_at timestamptz not null
);
"""

# Made after the rows are in: building an index once is faster than keeping it up row by row.
INDEX_CRM = """
-- enerflo-sync sandbox crm-tables: keys and indexes
alter table crm.milestones add primary key (enerflo_install_id, milestone_id);
alter table crm.notes add primary key (note_id);
alter table crm.change_orders add primary key (enerflo_change_order_id);
create unique index notes_enerflo_note_id on crm.notes (enerflo_note_id);
create index notes_enerflo_install_id on crm.notes (enerflo_install_id);
create index leads_updated_at on crm.leads (updated_at);
create index installs_updated_at on crm.installs (updated_at);
create index milestones_updated_at on crm.milestones (updated_at);
create index notes_updated_at on crm.notes (updated_at);
create index change_orders_updated_at on crm.change_orders (updated_at);
"""
UNIQUE_INSTALLS = "alter table crm.installs add primary key (enerflo_install_id)"
PLAIN_INSTALLS = "create index installs_enerflo_install_id on crm.installs (enerflo_install_id)"

# The marker by which a later run knows that the crm tables are the sandbox's and may be dropped.
CREATE_MARKER = """
-- enerflo-sync sandbox crm-tables: which company this is, and the declared differences
create schema if not exists sandbox;
drop table if exists sandbox.company, sandbox.planted_differences;
create table sandbox.company (
    installs bigint not null,
    seed bigint not null,
    per_cause integer not null,
    made_at timestamptz not null default now()
);
create table sandbox.planted_differences (
    table_name text not null,
    key jsonb not null,
    field text,
    cause text not null,
    enerflo_value jsonb,
    crm_value jsonb,
    after_deletion boolean not null
);
"""
FOREIGN_TABLES = """
-- enerflo-sync sandbox crm-tables: is there a crm schema that is not the sandbox's?
select array_agg(table_name::text order by table_name)
from information_schema.tables
where table_schema = 'crm' and to_regclass('sandbox.company') is null
"""
