"""What each job is, without Airflow: one module a job, whose functions take an opened account.

The command line and Airflow's operators call the same functions. A module imports no more than its job needs.
"""
