"""Names of statuses in ``sync.yaml`` that the company does not have: one may have another name by now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from string import Template

import sqlalchemy as sa

from enerflo_sync.crm.mapping import RecordKind, TableMapping
from enerflo_sync.crm.notice import Notice
from enerflo_sync.crm.problems import listed

_MAY_READ = sa.text("""
/* enerflo-sync doctor: may the mirror's installs and statuses be read? */
select count(*) = 2 from pg_catalog.pg_class t join pg_catalog.pg_namespace n on n.oid = t.relnamespace
where n.nspname = 'enerflo' and t.relname in ('install_statuses', 'installs')
  and has_schema_privilege(t.relnamespace, 'usage') and has_table_privilege(t.oid, 'select')
""")
# Records may carry a status that the company's list leaves out.
_GONE = Template("""
/* enerflo-sync: names of statuses in sync.yaml that the company does not have */
select w.name from unnest(%(names)s::text[]) w(name)
where exists (select from enerflo.install_statuses s where s.account = %(account)s and s.deleted_at is null)
  and not exists (
    select from enerflo.install_statuses s
    where s.account = %(account)s and s.deleted_at is null and $listed = $wanted)
  and not exists (
    select from enerflo.installs i
    where i.account = %(account)s and i.deleted_at is null and $carried = $wanted
      and not exists (
        select from enerflo.install_statuses s
        where s.account = i.account and s.deleted_at is null and s.status_id = i.status_id))
order by 1
""")
_NAMES = sa.text("""
/* enerflo-sync doctor: names of the company's statuses */
select name from enerflo.install_statuses where account = :account and deleted_at is null and name is not null
order by name
""")


def folded(text: str) -> str:
    """Return an SQL text in the form in which names of the option ``statuses`` are compared."""
    return f"lower(btrim({text}))"


def gone_statuses(
    connection: sa.Connection,
    names: Iterable[str],
    account: str,
    compared: Callable[[str], str] = folded,
) -> list[str]:
    """Return those of ``names`` that no status of the company has; none if no status was read yet.

    :param compared: returns an SQL text in the form in which these names are compared.
    """
    if not (wanted := list(names)):
        return []
    statement = _GONE.substitute(
        listed=compared("s.name"), carried=compared("i.status_name"), wanted=compared("w.name")
    )
    return list(connection.exec_driver_sql(statement, {"account": account, "names": wanted}).scalars())


def gone_labels(
    connection: sa.Connection, name: str, mapping: TableMapping, account: str
) -> Iterator[Notice]:
    """Yield the fields with a label (``values``) for a status that the company does not have."""
    for column, field in mapping.fields.items() if mapping.kind(name) == RecordKind.INSTALLS else ():
        if field.enerflo != "status_name" or not field.values or not connection.scalar(_MAY_READ):
            continue
        # Another case or a blank is no other name.
        if gone := gone_statuses(connection, field.values, account):
            known = connection.execute(_NAMES, {"account": account}).scalars().all()
            yield Notice(
                "warning",
                (mapping.section, column, "values"),
                f"a label for {', '.join(name.strip() for name in gone)}, and the company has no such status",
                listed(known),
                "Write the name that the status has by now. Until then, a status without a label is not"
                " written to the CRM, and a person is asked.",
            )
