# Airflow with enerflo-sync beside it: the exact packages of uv.lock, in an environment of their own.
# The base image's own packages differ from the lock's and stay unused; its entry point and user are kept.

FROM apache/airflow:3.3.2-python3.11 AS build
USER root
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PROJECT_ENVIRONMENT=/opt/enerflo \
    UV_PYTHON=python3.11 \
    UV_PYTHON_DOWNLOADS=never
RUN python -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check uv==0.13.9
# Further extras: --build-arg MORE_EXTRAS="--extra kubernetes" (docs/workers.md).
ARG MORE_EXTRAS=""
WORKDIR /opt/airflow
COPY pyproject.toml uv.lock README.md ./
RUN /opt/uv/bin/uv sync --frozen --no-default-groups --extra airflow --extra quality --extra s3 --extra receiver --extra pandas --extra celery $MORE_EXTRAS --no-install-project
# Installed in place: what runs is /opt/airflow/include and plugins, the same paths that compose mounts.
COPY include ./include
COPY plugins ./plugins
COPY dags ./dags
RUN /opt/uv/bin/uv sync --frozen --no-default-groups --extra airflow --extra quality --extra s3 --extra receiver --extra pandas --extra celery $MORE_EXTRAS

FROM apache/airflow:3.3.2-python3.11
ENV PATH=/opt/enerflo/bin:$PATH \
    VIRTUAL_ENV=/opt/enerflo \
    ENERFLO_SYNC_CONFIG=/opt/airflow/include/config/sync.yaml
COPY --from=build /opt/enerflo /opt/enerflo
COPY include ./include
COPY plugins ./plugins
COPY dags ./dags
# A new volume takes over the owner of what lies at its place.
RUN mkdir -p logs webhooks/drop
# Fails the build, not the first start, when an import or an entry point is broken. In a home of its own:
# airflow commands may write an airflow.cfg with fresh keys, and no key may stay in the image.
RUN export AIRFLOW_HOME=/tmp/home && airflow version && enerflo-sync --help > /dev/null && python -c "import great_expectations, s3fs" && rm -rf /tmp/home
# The base image's own user, by number, as Kubernetes wants to see that it is not root.
USER 50000:0
