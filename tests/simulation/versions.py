"""A copy of a source that has no key: no key is unique, and an edit leaves the row of before behind as a deleted one."""

from __future__ import annotations

WITHOUT_KEYS = """
do $$ declare one record; begin
    for one in select conname, conrelid::regclass as of from pg_constraint
        where contype in ('p', 'u') and connamespace = 'crm'::regnamespace
    loop execute format('alter table %s drop constraint %I', one.of, one.conname); end loop;
    for one in select indexrelid::regclass as name from pg_index i join pg_class c on c.oid = i.indexrelid
        where i.indisunique and c.relnamespace = 'crm'::regnamespace
    loop execute format('drop index %s', one.name); end loop;
end $$
"""
KEEP_VERSIONS = """
create trigger keep_version before update on crm.{} for each row execute function simulation.keep_version({})
"""
KEPT_VERSION = """
-- A copy without a key: an edit makes a row of its own, and what was there stays as a deleted row.
create function simulation.keep_version() returns trigger language plpgsql as $$
declare
    lives boolean;
    same text;
begin
    if current_setting('application_name') <> 'people' or new is not distinct from old then
        return new;
    elsif old.is_deleted and new.is_deleted then
        return null;
    elsif old.is_deleted then
        select string_agg(format('t.%I is not distinct from ($1).%I', name, name), ' and ')
            into same from unnest(tg_argv) name;
        execute format('select exists (select from %s t where not is_deleted and %s)', tg_relid::regclass, same)
            into lives using old;
        return case when lives then null else new end;
    elsif not new.is_deleted then
        execute format('insert into %1$s select (jsonb_populate_record(null::%1$s, $1)).*', tg_relid::regclass)
            using to_jsonb(old) || jsonb_build_object('is_deleted', true, 'copy_row',
                nextval(pg_get_serial_sequence(tg_relid::regclass::text, 'copy_row')));
    end if;
    return new;
end $$;
"""
