"""What each database speaks: one file for each, and the base that says what a dialect has to know."""
