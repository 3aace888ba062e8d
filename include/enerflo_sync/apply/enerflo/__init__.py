"""Makes a plan's changes at Enerflo, one record after the other, and reads each of them back."""
