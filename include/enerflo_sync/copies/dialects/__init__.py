"""The SQL dialect of each database, and the base class that lists what a dialect must provide."""
