"""The operator for quarantined items: replay or dismiss them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator, BaseOperatorLink, Context

from enerflo_airflow.links import InboxLink
from enerflo_airflow.metrics import send
from enerflo_airflow.notes import dismissal_note, keep_note, replay_note
from enerflo_airflow.operators import engine_run_id, noted_failure
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.steering import shown

if TYPE_CHECKING:
    from enerflo_sync.inbox.replay_report import ReplayReport

# Maximum items logged one by one; sync.quarantine has all of them.
_LOGGED = 2_000
# Name stored with a decision if Airflow does not say who started the run.
NOBODY = "airflow"


class Selection(StrEnum):
    """How to choose quarantined items."""

    FINGERPRINT = "fingerprint"
    EVENT = "event"
    ITEMS = "items"
    EVERYTHING = "everything"


class Action(StrEnum):
    """What to do with them."""

    DRY_RUN = "dry_run"
    REPLAY = "replay"
    DISMISS = "dismiss"


class ReplayOperator(BaseOperator):
    """Replays quarantined items, shows what a replay would do, or dismisses them.

    The task's log has the outcome of each item by id; bodies are neither logged nor returned.

    :param account: name of the account in sync.yaml.
    :param selection: a :class:`Selection`.
    :param value: a fingerprint, an event's name, or ids separated by spaces or commas; empty for
        everything.
    :param action: an :class:`Action`; a dry run changes nothing.
    :param reason: why items are dismissed; stored with each of them.
    :return: number of items per outcome, and ``mirror_changed``.
    """

    template_fields = ("account", "selection", "value", "action", "reason")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (InboxLink(),)
    ui_color = "#f7ece8"

    def __init__(
        self,
        *,
        account: str,
        selection: str,
        value: str | None = None,
        action: str = Action.DRY_RUN,
        reason: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.selection = selection
        self.value = value
        self.action = action
        self.reason = reason

    def execute(self, context: Context) -> dict[str, Any]:
        """Replay or dismiss the chosen items, and return the counts."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.quarantine import run_dismiss, run_replay

        action = Action(self.action)
        by = context["dag_run"].triggering_user_name or NOBODY
        with noted_failure(context):
            chosen = chosen_items(self.selection, self.value, action)
            reason = _reason(self.reason) if action is Action.DISMISS else ""
            with closing(open_account(str(self.account), reads_enerflo=action is Action.REPLAY)) as opened:
                if action is Action.DISMISS:
                    count = run_dismiss(opened, **chosen, reason=reason, by=by)
                    return self._done(context, dismissal_note(count, by), {"dismissed": count})
                dry = action is Action.DRY_RUN
                report = run_replay(opened, **chosen, dry=dry, by=by, run_id=engine_run_id(context))
        self._log_items(report)
        # An earlier try may have stored records and closed their items.
        changed = not dry and ("replayed" in report.counts or context["ti"].try_number > 1)
        return self._done(context, replay_note(report, by), report.counts, mirror_changed=changed)

    def _log_items(self, report: ReplayReport) -> None:
        for item in report.results[:_LOGGED]:
            self.log.info(
                "replay_item %s kind=%s outcome=%s %s",
                item.item_id,
                item.kind,
                item.outcome,
                shown(item.detail),
            )
        if len(report.results) > _LOGGED:
            self.log.info("replay_items_not_shown count=%d", len(report.results) - _LOGGED)

    def _done(
        self, context: Context, note: str, outcomes: Mapping[str, int], *, mirror_changed: bool = False
    ) -> dict[str, Any]:
        self.log.info("replay_finished %s", note)
        if Action(self.action) is not Action.DRY_RUN:
            send(str(self.account), {"replay.items": sum(outcomes.values())})
        keep_note(context, note)
        return {
            "account": str(self.account),
            "items": sum(outcomes.values()),
            "outcomes": dict(outcomes),
            "mirror_changed": mirror_changed,
        }


def chosen_items(selection: str, value: str | None, action: Action) -> dict[str, Any]:
    """Return the selection as parameters of :func:`enerflo_sync.jobs.quarantine.run_replay`.

    :raises ConfigurationError: a value is missing or superfluous, or the action does not support the
        selection.
    """
    chosen = Selection(selection)
    text = (value or "").strip()
    if chosen is Selection.EVERYTHING:
        # A value beside the selection everything probably means that the selection was forgotten.
        if text:
            raise _form_error("a value stands beside the selection everything.", "Clear it, or choose by it.")
        return {"everything": True}
    if not text:
        raise _form_error(
            f"the selection {chosen} has no value.",
            "Enter the fingerprint, the event's name or the ids that `enerflo-sync quarantine list` shows.",
        )
    if chosen is Selection.ITEMS:
        return {"items": tuple(text.replace(",", " ").split())}
    if chosen is Selection.EVENT and action is Action.DISMISS:
        raise _form_error("items are not dismissed by event.", "Dismiss them by fingerprint or by ids.")
    return {str(chosen): text}


def _reason(text: str | None) -> str:
    reason = (text or "").strip()
    if not reason:
        raise _form_error("no reason is given for the dismissal.", "Say why: it is kept with each item.")
    return reason


def _form_error(what: str, next_step: str) -> ConfigurationError:
    return ConfigurationError(what, where="form of the run", next_step=next_step)
