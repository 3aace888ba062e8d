"""The Airflow parts: they translate between Airflow and ``enerflo_sync``, and decide nothing about data."""
