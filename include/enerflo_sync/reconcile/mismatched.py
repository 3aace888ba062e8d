"""The rows of one table that are not exactly alike on both sides, in a temporary table."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.mapping import RecordKind
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.values import WHOLE_TEXT
from enerflo_sync.reconcile.wide import OF_MILESTONE

# No cast where none is needed, so that the join can use the order of the primary keys.
_MIRROR_SIDE = """select $join, $values, $key, $owner$status, $observed_at as observed_at, $said_at,
    $own_time as own_time, e.deleted_at is null as lives, true as here from $source where $rows"""
_CRM_SIDE = """select $join, $values, $key, $owner, $changed as changed_at, true as here from $crm t"""

# A tombstone does not count if a live record, or a record that was deleted later, has the same join key.
_NOT_SUPERSEDED = Template("""
      and not exists (
        select from $mirror s where e.deleted_at is not null and s.account = e.account and $same
          and (s.deleted_at is null or (s.deleted_at, $theirs) > (e.deleted_at, $mine)))""")

# The mirror's columns with the source's own time of a record's last change.
_SAID_AT: Mapping[str, str] = {RecordKind.INSTALLS: "updated_at", RecordKind.LEADS: "updated_at"}

_STATUS = {"install_status_id": "status_id", "install_status_name": "status_name"}

_OF_ALL = Template("""
/* enerflo-sync reconcile $name: rows that are not exactly alike, of all */
create temporary table $mismatched on commit drop as
select $columns, true as is_mismatched
from ($mirror_side) m full join ($crm_side) c on $on
where $is_mismatched
""")

# Equal rows stay in the result; their count shows that all others match one to one.
_OF_WANTED = Template("""
/* enerflo-sync reconcile $name: rows of the $wanted keys */
$into
select $columns, $is_mismatched as is_mismatched
from $wanted w
left join ($mirror_rows) m on $on_mirror
left join ($crm_rows) c on $on_crm
where m.here or c.here
$loose
""")

# Rows that changed lie together and were read by the index of their time. A lookup by key would read a page
# for each of them.
_MOVED_OR_WANTED = Template("""select * from $moved
  union all
  select s.* from $wanted w join ($side) s on $on_side
  where not exists (select from $moved n where $on_moved)""")

_LOOSE = Template("""union all
select $columns, true as is_mismatched
from ($crm_side) c left join ($mirror_side and false) m on true
where $unmatchable""")

_TWICE = Template("""
/* enerflo-sync reconcile $name: join keys that more than one row has */
create temporary table $twice on commit drop as
$selects
""")

_TWICE_ON_ONE_SIDE = Template("""select $joins from (
  select $keys from $table where $rows
) k $wanted group by $joins having count(*) > 1""")

# A write finds its row by what PostgreSQL calls equal, which may be more rows than those of one join key.
_TWICE_IN_THE_CRM = Template("""select $joins from (
  select $keys, count(*) over (partition by $plain) as same from $table where $rows
) k $wanted where same > 1""")


# Where a unique index separates all rows, two rows can only share a key if one of them spells it differently
# from Enerflo.
_TWICE_AS_SPELLED = Template("""select * from (
  with respelled as materialized (select $keys from $table where ($known) and ($is_respelled))
  select $joins from respelled group by $joins having count(*) > 1
  union
  select $respelled_joins from respelled o join $table on $plainly
) k $wanted""")


def twice_statement(comparison: Comparison, *, wanted_only: bool) -> str:
    """Return the statement that fills ``twice``; takes ``account``. Sides with a unique index are skipped."""
    wanted = f"join {comparison.wanted} w using ({comparison.join_names()})" if wanted_only else ""
    common = {"joins": comparison.join_names(), "wanted": wanted}
    selects = []
    if not comparison.crm_unique:
        keys, rows, table = (
            comparison.select_join("crm"),
            comparison.crm_key_known,
            f"{comparison.crm_rows} t",
        )
        if comparison.live.unique_by([join.crm_name for join in comparison.joins]):
            selects.append(_twice_as_spelled(comparison, common | {"keys": keys, "table": table}))
        else:
            selects.append(_TWICE_ON_ONE_SIDE.substitute(common, keys=keys, rows=rows, table=table))
            if comparison.mapping.joined_by_key and any(join.live.folds for join in comparison.joins):
                plain = ", ".join(f"t.{quoted(join.crm_name)}" for join in comparison.joins)
                parts = common | {"plain": plain, "keys": keys, "rows": rows, "table": table}
                selects.append(_TWICE_IN_THE_CRM.substitute(parts))
    if not comparison.mirror_unique:
        keys, rows = comparison.select_join("mirror"), f"{comparison.mirror_rows} and e.deleted_at is null"
        selects.append(
            _TWICE_ON_ONE_SIDE.substitute(common, keys=keys, rows=rows, table=f"{comparison.mirror} e")
        )
    return _TWICE.substitute(name=comparison.name, twice=comparison.twice, selects="\nunion\n".join(selects))


def _twice_as_spelled(comparison: Comparison, common: dict[str, str]) -> str:
    pairs = list(enumerate(comparison.joins, 1))
    spelled = [(n, join) for n, join in pairs if join.varies]
    plain = [
        f"{join.raw('t')} = {join.as_stored(f'o.j{n}')}"
        if join.varies
        else f"({join.crm})::{join.type} = o.j{n}"
        for n, join in pairs
    ]
    # A compared column is not null; a second check would compute its key once more for each row.
    others = [join for _, join in pairs if len(spelled) > 1 or not join.varies]
    return _TWICE_AS_SPELLED.substitute(
        common,
        known=" and ".join(f"{join.crm} is not null" for join in others) or "true",
        is_respelled=" or ".join(
            f"{join.raw('t')} <> {join.as_stored(f'({join.crm})')}" for _, join in spelled
        ),
        respelled_joins=comparison.join_names("o"),
        plainly=" and ".join(plain),
    )


def mismatched_statement(comparison: Comparison) -> str:
    """Return the statement that fills ``mismatched`` from all rows; it takes the parameter ``account``.

    Columns: ``j1…`` join key, ``k1…`` the CRM row's key, ``p1…`` the mirror's key, ``owner`` the install,
    ``e1…`` and ``c1…`` the raw values, ``in_enerflo`` and ``in_crm``, ``tombstone``, ``observed_at``,
    ``own_time`` (the source's), ``said_at`` (the same where it is earlier), ``changed_at``,
    ``is_mismatched``; for installs their status in Enerflo.
    """
    return _OF_ALL.substitute(_mismatched_parts(comparison), on=comparison.on("m", "c"))


def wanted_mismatched_statement(
    comparison: Comparison, *, keys: str, first: bool, moved: bool = False
) -> str:
    """Return the statement that fills ``mismatched`` from the rows of the join keys in the table ``keys``.

    :param first: the statement makes the table, and includes the CRM rows without a join key.
    :param moved: the tables of changed rows exist; only the other rows are looked up.
    """
    parts = _mismatched_parts(comparison)
    unmatchable = " or ".join(f"c.j{n} is null" for n, _ in enumerate(comparison.joins, 1))
    loose = _LOOSE.substitute(parts, unmatchable=unmatchable) if first and comparison.compares_loose else ""
    into = (
        f"create temporary table {comparison.mismatched} on commit drop as"
        if first
        else f"insert into {comparison.mismatched}"
    )
    on = {"on_mirror": comparison.on("m", "w"), "on_crm": comparison.on("c", "w")}
    rows = {f"{side}_rows": _wanted_rows(comparison, side, keys, moved) for side in ("mirror", "crm")}
    return _OF_WANTED.substitute(parts, wanted=keys, into=into, loose=loose, **on, **rows)


def _wanted_rows(comparison: Comparison, side: str, keys: str, moved: bool) -> str:
    select, unique = (
        (current_side(comparison), comparison.mirror_unique)
        if side == "mirror"
        else (crm_side(comparison), comparison.crm_unique)
    )
    known = side == "mirror" or not comparison.keeps_hashes
    if not (moved and unique and known):
        return select
    return _MOVED_OR_WANTED.substitute(
        moved=comparison.moved(side),
        wanted=keys,
        side=select,
        on_side=comparison.on("s", "w"),
        on_moved=comparison.on("n", "w"),
    )


def _mismatched_parts(comparison: Comparison) -> dict[str, str]:
    alike = [pair for field in comparison.fields for pair in field.pairs]
    numbers = range(1, len(comparison.joins) + 1)
    mine, theirs = (", ".join(pair[side] for pair in alike) for side in (0, 1))
    one_sided = (
        "(m.lives is null or not m.lives or c.here is null) and (coalesce(m.lives, false) or c.here is true)"
    )
    if comparison.may_be_loose and not comparison.compares_loose:
        one_sided += f" and (m.here is true or {' and '.join(f'c.j{n} is not null' for n in numbers)})"
    several = "".join(f" or {field.ambiguous}" for field in comparison.fields if field.ambiguous)
    differing = f"m.lives and c.here and (row({mine}) is distinct from row({theirs}){several})"
    return {
        "name": comparison.name,
        "mismatched": comparison.mismatched,
        "columns": _columns(comparison),
        "is_mismatched": f"coalesce(({one_sided}) or ({differing}), false)",
        "mirror_side": current_side(comparison),
        "crm_side": crm_side(comparison),
    }


def _columns(comparison: Comparison) -> str:
    keys = range(1, len(comparison.mapping.key_columns) + 1)
    fields = range(1, len(comparison.fields) + 1)
    return ", ".join(
        [
            *(f"coalesce(m.j{n}, c.j{n}) as j{n}" for n, _ in enumerate(comparison.joins, 1)),
            *(f"c.k{n}" for n in keys),
            *(
                f"coalesce(m.p{n}, {_read_once(comparison, name) or f'c.p{n}'}) as p{n}"
                for n, name in enumerate(comparison.mirror_key, 1)
            ),
            f"coalesce(m.owner, {_read_once(comparison, 'install_id') or 'c.owner'}) as owner",
            *(f"m.e{n}" for n in fields),
            *(f"c.c{n}" for n in fields),
            *(f"m.{name}{n}" for n in fields if comparison.is_wide for name in OF_MILESTONE),
            "coalesce(m.lives, false) as in_enerflo",
            "coalesce(c.here, false) as in_crm",
            "coalesce(not m.lives, false) as tombstone",
            *(f"m.{name}" for name in _STATUS if comparison.is_installs),
            "m.observed_at",
            "m.said_at",
            "m.own_time",
            "c.changed_at",
        ]
    )


def _read_once(comparison: Comparison, mirror: str) -> str | None:
    """Return the CRM's join key that equals this key column, if the column takes long to read."""
    for n, join in enumerate(comparison.joins, 1):
        if join.mirror_name == mirror and join.options is not None and join.type == "bigint":
            return f"c.j{n}"
    return None


def mirror_side(comparison: Comparison) -> str:
    """Return the select of the mirror's rows, tombstones too: ``j1…``, ``e1…``, ``p1…``, ``lives``."""
    owner = "e.install_id" if comparison.mirror_has_install else "null::bigint"
    own_time = _SAID_AT.get(comparison.kind)
    said_at = f"least(e.{own_time}, e.observed_at)" if own_time else comparison.observed_at
    return Template(_MIRROR_SIDE).substitute(
        join=", ".join(
            f"{j.mirror if j.type == 'bigint' else f'{j.mirror}::{j.type}'} as j{n}"
            for n, j in enumerate(comparison.joins, 1)
        ),
        values=", ".join(
            f"w.e{n}, {', '.join(f'w.{name}{n}' for name in OF_MILESTONE)}"
            if comparison.is_wide
            else f"e.{quoted(field.mirror_column)} as e{n}"
            for n, field in enumerate(comparison.fields, 1)
        ),
        observed_at=comparison.observed_at,
        key=", ".join(f"e.{quoted(column)} as p{n}" for n, column in enumerate(comparison.mirror_key, 1)),
        owner=f"{owner} as owner",
        said_at=f"{said_at} as said_at",
        own_time=f"e.{own_time}" if own_time else "null::timestamptz",
        status="".join(
            f", e.{column} as {name}" for name, column in _STATUS.items() if comparison.is_installs
        ),
        source=comparison.mirror_source,
        rows=comparison.mirror_rows,
    )


def current_side(comparison: Comparison) -> str:
    """Return :func:`mirror_side` without tombstones whose join key another record has."""
    if comparison.mirror_unique:
        return mirror_side(comparison)
    return mirror_side(comparison) + _NOT_SUPERSEDED.substitute(
        mirror=comparison.mirror,
        same=" and ".join(f"{join.of_mirror('s')} = {join.mirror}" for join in comparison.joins),
        theirs=", ".join(f"s.{quoted(column)}" for column in comparison.mirror_key),
        mine=", ".join(f"e.{quoted(column)}" for column in comparison.mirror_key),
    )


def crm_side(comparison: Comparison) -> str:
    """Return the select of the CRM's rows: ``j1…``, ``c1…``, ``k1…``, ``p1…``, ``changed_at``."""
    of_mirror = {join.mirror_name: join for join in comparison.joins}
    owner = comparison.mapping.install_column
    return Template(_CRM_SIDE).substitute(
        join=", ".join(
            f"{f'{j.crm}::text' if j.type == 'text' else j.crm} as j{n}"
            for n, j in enumerate(comparison.joins, 1)
        ),
        values=", ".join(f"t.{quoted(field.name)} as c{n}" for n, field in enumerate(comparison.fields, 1)),
        key=", ".join(
            [
                *(
                    f"t.{quoted(column)} as k{n}"
                    for n, column in enumerate(comparison.mapping.key_columns, 1)
                ),
                *(
                    _whole(comparison, of_mirror[column].crm_name if column in of_mirror else None)
                    + f" as p{n}"
                    for n, column in enumerate(comparison.mirror_key, 1)
                ),
            ]
        ),
        owner=f"{_whole(comparison, owner)} as owner",
        changed=comparison.changed_at("t"),
        crm=comparison.crm_rows,
    )


def _whole(comparison: Comparison, column: str | None) -> str:
    """Return a CRM column as a bigint, as Enerflo's ids are; null where it is not a whole number."""
    if column is None:
        return "null::bigint"
    raw = f"t.{quoted(column)}"
    join = next((one for one in comparison.joins if one.crm_name == column and one.options is not None), None)
    if join is not None and join.type == "bigint":
        return f"({join.crm})::bigint"
    if join is not None:
        return f"(case when {join.crm} ~ {literal(WHOLE_TEXT)} then ({join.crm})::bigint end)"
    match comparison.live.columns[column].kind:
        case Kind.INTEGER:
            return f"{raw}::bigint"
        case Kind.DECIMAL | Kind.FLOAT:
            return f"(case when abs({raw}) < 1e18 and trunc({raw}::numeric) = {raw} then {raw}::bigint end)"
        case Kind.TEXT:
            return f"(case when {raw}::text ~ {literal(WHOLE_TEXT)} then {raw}::text::bigint end)"
        case _:
            return "null::bigint"
