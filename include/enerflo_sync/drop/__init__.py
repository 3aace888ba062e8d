"""The drop of webhook payloads, and its archive: the receiver writes it, and the inbox reads it."""
