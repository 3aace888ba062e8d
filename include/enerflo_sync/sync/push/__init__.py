"""The outbox: makes a plan's changes at Enerflo, one record after the other, and reads each one back."""
