"""The Airflow integration: translates between Airflow and ``enerflo_sync``, without decisions about data."""
