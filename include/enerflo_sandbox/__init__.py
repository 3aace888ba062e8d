"""A simulated Enerflo company with the vendor's envelopes and quirks; it shares no code with the client."""
