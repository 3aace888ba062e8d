"""Makes a plan's changes at Enerflo, record by record, and reads each change back."""
