"""Gaps: periods that were not observed completely, with the evidence and the way to close each."""
