"""The jobs without Airflow: one module per job, whose functions take an opened account.

The command line and Airflow's operators call the same functions. A module imports only what its job needs.
"""
