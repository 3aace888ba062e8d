"""A warehouse with an untidy Fivetran copy of Salesforce, among tables that have nothing to do with Enerflo."""

from __future__ import annotations

from tests.writes.conftest import Desk
from tests.writes.copies import run

_TABLES = (
    """create schema salesforce
create table "Opportunity" ("Id" text primary key, "AccountId" text, "OwnerId" text, "RecordTypeName" text,
  "IsDeleted" boolean, "IsWon" boolean, "Name" text, "Description" text, "StageName" text, "Amount" numeric,
  "Probability" numeric, "CloseDate" date, "Type" text, "LeadSource" text, "NextStep" text,
  "CreatedDate" timestamp, "LastModifiedDate" timestamp, "SystemModstamp" timestamp, "LastActivityDate" date,
  "Enerflo_Install_Id__c" text, "System_Size__c" numeric, "Panel__c" text, "Number_Of_Stories__c" numeric,
  "Permit_Approved_Date__c" date, "HOA_Approval_Date__c" date, "Utility_Rate__c" float8,
  _fivetran_deleted boolean, _fivetran_synced timestamptz)
create table "Account" ("Id" text primary key, "Name" text, "Phone" text, "BillingCity" text, "IsDeleted" boolean,
  "LastModifiedDate" timestamp, _fivetran_deleted boolean, _fivetran_synced timestamptz)
create table "User" ("Id" text primary key, "Email" text, "FirstName" text, "LastName" text, "IsActive" boolean,
  _fivetran_synced timestamptz)
create table "Task" ("Id" text primary key, "WhatId" text, "Subject" text, "Status" text, "Description" text,
  "CreatedDate" timestamp, _fivetran_deleted boolean, _fivetran_synced timestamptz)
create table "RecordType" ("Id" text primary key, "Name" text, _fivetran_synced timestamptz)""",
    """create schema mart
create table dim_date (date_key integer primary key, day date, is_holiday boolean)
create table revenue (month date, amount numeric, deals integer)""",
    "create schema airflow create table dag_run (id integer primary key, dag_id text, state text, run_id text)",
)
# Numbers in four spellings, names in capitals with blanks, labels, rounding, panels with other punctuation, days as
# Denver's calendar has them.
_ROWS = """
insert into salesforce."Opportunity" ("Id", "AccountId", "OwnerId", "RecordTypeName", "IsDeleted", "IsWon", "Name",
  "StageName", "Amount", "Probability", "CloseDate", "Type", "LeadSource", "CreatedDate", "LastModifiedDate",
  "SystemModstamp", "Enerflo_Install_Id__c", "System_Size__c", "Panel__c", "Number_Of_Stories__c", "Permit_Approved_Date__c",
  "HOA_Approval_Date__c", "Utility_Rate__c", _fivetran_deleted, _fivetran_synced)
select '006' || i.install_id, '001' || i.install_id, '005' || i.install_id % 3, 'Solar', false, i.install_id % 2 = 0,
  case when i.install_id % 3 = 0 then upper(i.customer_name) || '  ' else i.customer_name end,
  case i.status_name when 'Completed' then 'Closed Won' when 'Voided' then 'Closed Lost' else i.status_name end,
  round(i.contract_amount), i.install_id % 101, date '2024-01-01' + (i.install_id % 500)::int, 'New Business',
  'Referral', timestamp '2023-05-05 10:00' + i.install_id % 1000 * interval '1 hour',
  timestamp '2020-01-01', timestamp '2020-01-02',
  case i.install_id % 4 when 0 then i.install_id::text when 1 then lpad(i.install_id::text, 12, '0')
    when 2 then ' ' || i.install_id || ' ' else i.install_id || '.0' end,
  round(i.system_size_kw, 2),
  case when i.install_id % 4 = 0 then replace(i.panel_type, ' ', '_') else i.panel_type end, 1 + i.install_id % 2, (m.completed_at at time zone 'America/Denver')::date,
  date '2022-02-02' + (i.install_id % 90)::int, 0.11 + i.install_id % 7 * 0.01, false, now() - interval '1 day'
from enerflo.installs i
left join enerflo.milestones m on m.account = i.account and m.install_id = i.install_id
  and m.title = 'Permitting' and m.deleted_at is null
where i.deleted_at is null
"""
_ASIDE = (
    """insert into salesforce."Opportunity" ("Id", "RecordTypeName", "IsDeleted", "Name", "StageName",
      _fivetran_deleted, _fivetran_synced) select 'roof' || n, 'Roofing', false, 'A roof', 'Prospecting', false, now()
      from generate_series(1, 30) n""",
    """insert into salesforce."Opportunity" ("Id", "RecordTypeName", "IsDeleted", "Name", "StageName",
      "Enerflo_Install_Id__c", _fivetran_deleted, _fivetran_synced)
      select 'old' || "Id", 'Solar', "Id" like '%7', "Name", 'Qualification', "Enerflo_Install_Id__c", true, now()
      from salesforce."Opportunity" where "RecordTypeName" = 'Solar'""",
    """insert into salesforce."Opportunity" ("Id", "RecordTypeName", "IsDeleted", "Name", "Enerflo_Install_Id__c",
      _fivetran_deleted, _fivetran_synced) values ('lead1', 'Solar', false, 'No install yet', null, false, now()),
      ('lead2', 'Solar', false, 'No install yet', 'n/a', false, now()),
      ('lead3', 'Solar', false, 'No install yet', '', false, now())""",
    """insert into salesforce."Account" select '001' || install_id, customer_name, '555', 'Denver', false, now(),
      false, now() from enerflo.installs""",
    """insert into salesforce."User" select '005' || n, 'a' || n || '@b.example', 'Ann', 'Lee', true, now()
      from generate_series(0, 9) n""",
    """insert into salesforce."Task" select '00T' || n, '006' || n, 'Call', 'Open', 'Call back', now(), false, now()
      from generate_series(1, 50) n""",
    "insert into mart.dim_date select n, date '2024-01-01' + n, false from generate_series(1, 400) n",
    "insert into airflow.dag_run select n, 'a_dag', 'success', 'run' from generate_series(1, 300) n",
)


# Ten times the company, of which some are voided: a label has to stand beside several rows.
_MORE = (
    """update enerflo.installs set status_name = 'Voided', status_id = 3 where install_id in
      (select install_id from enerflo.installs where status_name = 'In progress' order by 1 limit 2)""",
    """insert into enerflo.installs select (jsonb_populate_record(i, jsonb_build_object('install_id', i.install_id + n * 100000))).*
      from enerflo.installs i, generate_series(1, 9) n""",
    """insert into enerflo.milestones select (jsonb_populate_record(i, jsonb_build_object('install_id', i.install_id + n * 100000))).*
      from enerflo.milestones i, generate_series(1, 9) n""",
)


def put_untidy_salesforce(desk: Desk) -> None:
    """Put the copy into the desk's warehouse, in the place of the demo's CRM tables."""
    run(desk, "drop schema crm cascade", *_MORE, *_TABLES, _ROWS, *_ASIDE)
