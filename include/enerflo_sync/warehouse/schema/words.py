"""Words of names, as an index finds them by their beginnings."""

from __future__ import annotations

# What parts words, besides a blank: O'Neil is two words, and so is Smith-Jones.
PARTING = "\t\r\n.,;:()/\"'-_"

# Longer names are cut: a word of more than 2,046 bytes would be refused, and a poll with it.
LONGEST = 200

# New entries wait in a list, which halves what they cost a poll. Each search reads the list: so it is short.
PENDING_KB = 256


def words_of(text: str) -> str:
    """Return the expression of an index over the words of ``text``, each with the row's account before it.

    The account is part of each word, since an index over words has no other column: a name that many accounts
    know costs each of them its own rows only.

    :param text: an SQL expression over the columns of a table with the column ``account``.
    """
    parting = PARTING.replace("'", "''")
    plain = f"translate(left(lower({text}), {LONGEST}), '{parting}', '{' ' * len(PARTING)}')"
    # With the brackets that PostgreSQL itself writes, so that Alembic can compare the two.
    return (
        "array_to_tsvector(string_to_array((account || '|') ||"
        f" replace({plain}, ' ', (chr(31) || account) || '|'), chr(31)))"
    )


INSTALL_WORDS = words_of("coalesce(customer_name, '')")
CUSTOMER_WORDS = words_of("(coalesce(first_name, '') || ' ') || coalesce(last_name, '')")
EMAIL = "left(lower(email), 320)"
