"""Stretches of time that were not seen whole: by which evidence that is known, and what closes each."""
