"""The pages of the Airflow plugin: what each shows, read in few queries and rendered on the server."""
