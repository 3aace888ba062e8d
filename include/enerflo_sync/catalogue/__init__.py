"""What Enerflo really sends: every path of the stored records, and what is made of it."""
