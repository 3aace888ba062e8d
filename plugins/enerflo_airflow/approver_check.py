"""Whether those who alone may decide for an account (``airflow.approvers``) can answer in this Airflow.

Only the API server knows the users: a worker has no access to Airflow's database, and the DAG processor reads
the DAG files before anybody is asked. So the pages of plans and of the account say it.
"""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.sdk import conf

from enerflo_airflow.accounts import account_name, sync_config
from enerflo_sync.jobs.context import AccountContext

# The user that everybody is where Airflow asks nobody to log in.
_EVERYBODY = SimpleAuthManagerUser(username="Anonymous", role="ADMIN")


class UnknownUsersError(Exception):
    """The auth manager names no users, as one that asks another service for them."""


def who_alone_may_decide(opened: AccountContext, user: BaseUser) -> str:
    """Return in words who may decide about an account's plans; empty if the user is one of them."""
    allowed = opened.settings.airflow.approver_ids
    if not allowed or get_auth_manager().is_authorized_hitl_task(assigned_users=set(allowed), user=user):
        return ""
    return f"Only {', '.join(allowed.values())} may decide about plans of account {opened.account}."


def approver_problem(account: str) -> str:
    """Return in words which of an account's approvers cannot answer, why, and what to do; empty if all can.

    Nothing is said where the auth manager names no users: the simple one and FAB's do.
    """
    config = sync_config()
    allowed = config.account(account).airflow.approver_ids
    if not allowed:
        return ""
    try:
        reasons = {user_id: _why_not(account, user_id) for user_id in allowed}
    except UnknownUsersError:
        return ""
    found = [f"{_named(user_id, allowed[user_id])} {why}" for user_id, why in reasons.items() if why]
    if not found:
        return ""
    able = len(reasons) - len(found)
    wanted = 2 if config.approval.second_person else 1
    left = ""
    if able < wanted:
        left = " Nobody can answer in Airflow." if not able else " Two persons have to, and one alone can."
    return (
        f"{config.spot('accounts', account, 'airflow', 'approvers')}: airflow.approvers:"
        f" {'; '.join(found)}.{left} Correct the option, or the users in Airflow; on the command line"
        ' "enerflo-sync apply HASH --approve NAME" decides.'
    )


def _named(user_id: str, name: str) -> str:
    return user_id if user_id == name else f"{name} (id {user_id})"


def _why_not(account: str, user_id: str) -> str:
    manager: Any = get_auth_manager()
    user = _user(manager, user_id)
    if user is None:
        return "is no user of this Airflow who is active"
    # What Airflow asks for an answer to one of Required Actions, beside being named.
    dag_id = account_name("approve", account)
    entity, details = DagAccessEntity.HITL_DETAIL, DagDetails(id=dag_id)
    may = manager.is_authorized_dag(method="PUT", access_entity=entity, details=details, user=user)
    return "" if may else f"may not answer questions of the DAG {dag_id}"


def _user(manager: Any, user_id: str) -> Any:
    """Return the user of an id; None if there is none, or if the user is not active.

    :raises UnknownUsersError: this auth manager cannot say.
    """
    if isinstance(manager, SimpleAuthManager):
        everybody = conf.getboolean("core", "simple_auth_manager_all_admins")
        users = [_EVERYBODY] if everybody else manager.get_users()
        return next((user for user in users if user.get_id() == user_id), None)
    # Its provider need not be installed.
    if any(kind.__name__ == "FabAuthManager" for kind in type(manager).__mro__):
        try:
            return manager.deserialize_user({"sub": user_id})
        except ValueError:
            return None
    raise UnknownUsersError
