"""Why a record's fields have their values: versions, witnesses, decisions, what waits."""
