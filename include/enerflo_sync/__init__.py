"""Keep an Enerflo account and its CRM warehouse tables in agreement, and prove it."""
