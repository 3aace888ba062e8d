"""The catalogue of Enerflo's fields: every path in the stored records, and the columns filled from it."""
