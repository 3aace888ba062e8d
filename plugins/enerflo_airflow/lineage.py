"""OpenLineage: what a task read and wrote, if Airflow's OpenLineage provider is installed and set up.

Everything is looked up while the task runs: the provider asks for it in a process of its own, which reaches
neither the warehouse nor Airflow's connections.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from enerflo_sync.jobs.context import AccountContext
    from enerflo_sync.jobs.lineage import Dataset, Lineage

log = logging.getLogger(__name__)

_PROVIDER = "airflow.providers.openlineage"


def lineage_is_on() -> bool:
    """Return whether the provider is installed and sends events anywhere."""
    try:
        if find_spec(_PROVIDER) is None:
            return False
        from airflow.providers.openlineage import conf
    except ImportError:
        return False
    return not conf.is_disabled()


class WithLineage:
    """Adds lineage to an operator: :meth:`keep_lineage` in ``execute``, and what the provider asks for."""

    _lineage: Any = None

    def keep_lineage(self, find: Callable[[Any, Any], Any], opened: AccountContext, report: Any) -> None:
        """Keep the lineage that ``find`` returns for a job's report until the provider asks.

        A failure is logged, and fails no task.
        """
        if not lineage_is_on():
            return
        try:
            self._lineage = _facets(find(opened, report))
        except Exception as error:
            log.warning("lineage not sent error=%s", type(error).__name__)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return the task's lineage for the provider; None if there is none."""
        return self._lineage


def _facets(lineage: Lineage) -> Any:
    """Return a job's lineage as the provider takes it: datasets, columns, rows, checks, counts."""
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import column_lineage_dataset as columns
    from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

    def of(dataset: Dataset, field: str) -> Any:
        return columns.InputField(dataset.namespace, dataset.name, field)

    outputs = []
    for one in lineage.outputs:
        about: dict[str, Any] = {}
        if one.columns:
            fields = {
                column: columns.Fields(inputFields=[of(*source) for source in sources])
                for column, sources in one.columns.items()
            }
            about["columnLineage"] = columns.ColumnLineageDatasetFacet(fields=fields)
        counted = statistics.OutputStatisticsOutputDatasetFacet(rowCount=one.rows)
        outputs.append(
            OutputDataset(
                one.dataset.namespace,
                one.dataset.name,
                facets=about,
                outputFacets={} if one.rows is None else {"outputStatistics": counted},
            )
        )
    tested = [
        quality.Assertion(
            assertion=one.name,
            success=one.passed,
            severity="error" if one.holds else "warn",
            description=one.sentence,
            actual=one.found,
        )
        for one in lineage.checks
    ]
    asserted = {"dataQualityAssertions": quality.DataQualityAssertionsDatasetFacet(assertions=tested)}
    return OperatorLineage(
        inputs=[
            InputDataset(one.namespace, one.name, inputFacets=asserted if tested else {})
            for one in lineage.inputs
        ],
        outputs=outputs,
        run_facets={"enerflo_sync_counts": _counts(lineage)},
    )


def _counts(lineage: Lineage) -> Any:
    from openlineage.client.facet_v2 import RunFacet

    return RunFacet().with_additional_properties(**lineage.counts)
