"""The page docs/notifications.md: how people are told, and what they can be told."""

from __future__ import annotations

import json

from enerflo_sync.crm.routes import EVENTS, TEXT_NAMES, HttpTarget, NotifyOptions


def notifications_page() -> str:
    """Return how people are told, and the catalogue of what they can be told."""
    body = json.dumps(HttpTarget.model_fields["body"].default)
    lines = [
        "# Notifications",
        "",
        "A route under `notify` in `include/config/sync.yaml` says who is told what. As soon as there is"
        " one, the DAGs poll, webhooks, reconcile, change orders, sync and prune of its accounts have the"
        " task *Tell people*, which looks into the warehouse for what is new and sends it by the smtp or"
        " the http provider. It runs whatever became of the tasks before it; where it fails it is tried"
        " again and the run stays green, and the next run of any of these DAGs sends what still waits. A"
        " message that failed five times is given up, news not before a day has passed, a state not before"
        " an hour; what stands of a state is told anew every two hours until the route works, and so is"
        " the end of an alert, unless another one of its kind began since. `enerflo-sync notify` shows"
        " what would be told now, and the 20 newest messages. All stand in the table `sync.notifications`,"
        " but for what Airflow itself tells:",
        "",
        "A task that fails for good is told by a callback of Airflow (`run_failed`), which needs no"
        " warehouse: each failing task once, and once more when it fails no more. Airflow keeps in a"
        " Variable `enerflo_failing:…` which routes know of it; what no route could be told is tried again"
        " when the task fails again. Where tasks of an account fail by one cause that may pass (a server that"
        " does not answer), the first is told, and the others are not until that one works again; accounts"
        " that begin to fail within an hour are one message. The failure of *Tell people* itself is not"
        " told.",
        "",
        "No DAG of an account whose own file holds a mistake runs. The DAG `enerflo_accounts` tells its"
        " routes (`account_unusable`) [once](accounts.md#a-mistake-in-a-file).",
        "",
        "## Set it up",
        "",
        "1. Make the connection in Airflow (Admin, Connections): type SMTP with `from_email`, or type HTTP"
        " with the address of the chat's incoming webhook as its host. The secret stays there.",
        "2. Add the route:",
        "",
        "   ```yaml",
        "   notify:",
        "     routes:",
        "       operations:",
        "         events: [project_received, project_resubmitted, change_order_held]",
        "         email: {to: [ops.director@example.com], connection: smtp_default}",
        "         personal_data: [name]",
        "       chat:",
        "         level: warning",
        "         http: {connection: slack_alerts}",
        "   ```",
        "",
        "3. `enerflo-sync notify` shows what the next run would tell.",
        "",
        f"Unless a route has a `body` of its own, `{body}` is posted, which Slack takes as it is. In the"
        " texts of a body, however deep they stand, `{name}` takes one of "
        + ", ".join(f"`{name}`" for name in TEXT_NAMES)
        + ".",
        "",
        "Personal data is masked but for the classes that the route names. The link needs Airflow's"
        " `[api] base_url`.",
        "",
        "## Events",
        "",
        "One message an event, however many records it is about, with some of them, by cause. News is"
        " told once. A state that lasts is told when it begins, for each record or cause; where a column"
        " says so also when it became so much worse; and anew after it was over. The end of an alert is"
        " told as *resolved*, and `{state}` in a body is `firing` or `resolved`. Another limit of `notify`"
        " does not end an alert; a larger `late_hours` or `arrives_within_hours` of a table does. Where"
        " `sync.yaml` has something not watched any more, the message says so in place of its end. A state"
        " that no route takes is told anew once one does. What happened before the first look, longer ago"
        " than `news_days`, or was found by a backfill is no news. The message of a state names its"
        " section of the [runbook](runbook.md).",
        "",
        "| event | level | what it says | is | told again | its end |",
        "|---|---|---|---|---|---|",
    ]
    for event, info in EVENTS.items():
        again = f"at {info.again_at:g} times as many" if info.again_at else ""
        kind = "news" if info.is_news else "an alert" if info.ended else "a state"
        lines.append(f"| {event} | {info.level} | {info.says} | {kind} | {again} | {info.ended} |")
    lines += ["", "## Limits", "", "| option of `notify` | default | what it does |", "|---|---|---|"]
    for name, option in NotifyOptions.model_fields.items():
        if name != "routes":
            lines.append(f"| {name} | `{json.dumps(option.default)}` | {option.description} |")
    lines += [
        "",
        "Each message is kept before it is sent and marked after: where the process dies in between, it is"
        " sent once more.",
        "",
        "## Who watches the watcher",
        "",
        "Everything here is told by runs of our DAGs. Where none runs (the scheduler is down, the DAGs are"
        " switched off, no worker is free) nothing is told. Watch that from outside:",
        "",
        "- Airflow's own health: `/api/v2/monitor/health` says when the scheduler, the triggerer and the DAG"
        " processor gave their last sign.",
        "- The metrics `enerflo_sync.*.ended` ([metrics](metrics.md)): the rules in"
        " [alerts.yaml](monitoring/alerts.yaml) tell when no poll ended for two hours, and when the metrics"
        " themselves stay away.",
        "- Airflow's deadline alerts, for a run that is late or never ends. They are experimental, and need"
        " a running scheduler.",
        "",
    ]
    return "\n".join(lines)
