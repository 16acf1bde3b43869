"""A folder to the Hub: checked first, then its large files, then one commit; nothing is half-published."""

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id

from phenolip.exceptions import ConfigurationError, DataError, PhenoLIPError
from phenolip.hub.push_check import check_dataset, check_examples, check_model, rewrite_card
from phenolip.hub.push_files import DATASET_FILES, EXAMPLES, MODEL_FILES, TRAINING_INDEX, Selection, select_files

TOKEN = "HF_TOKEN"
MAIN = "main"
NUM_COMMIT_TRIES = 4
WAIT_S = 2.0  # before a commit is tried again; doubles each time
_OURS = {"model": re.compile(r"model.*\.safetensors|[^/]+\.py|card/.+"), "dataset": re.compile(r"[^/]+/.+\.parquet")}


@dataclass(frozen=True, slots=True)
class PushPlan:
    """What a push would do.

    Attributes:
        kind: "model" or "dataset".
        repo_id: "ORG/NAME".
        selection: Files that go up, and those that do not.
        facts: Of a data set: rows and their licences.
    """

    kind: str
    repo_id: str
    selection: Selection
    facts: dict[str, Any]


class PushError(PhenoLIPError):
    """The Hub refused, or could not be reached."""


def plan_push(
    folder: str | Path,
    repo_id: str,
    *,
    kind: str | None = None,
    license: str | None = None,
    include_training_index: bool = False,
    allow_examples: bool = False,
) -> PushPlan:
    """Reads and checks a folder; needs no network and no token.

    Args:
        folder: Model folder, or data set that `phenolip prepare --output` wrote.
        repo_id: "ORG/NAME".
        kind: "model" or "dataset"; None tells by config.json.
        license: Licence of a data set whose rows carry none.
        include_training_index: Send names and hashes of the training rows with a model.
        allow_examples: Send HTML pages, and pictures of `card/` that `phenolip card` did not draw; they may show the
            images and texts of somebody. The rows of a data set go up without it: they are what is published.

    Raises:
        ConfigurationError: The name or a setting cannot be used.
        DataError: The folder is not fit to be pushed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"`dir` must be a folder, got {folder}.")
    check_repo_id(repo_id)
    kind = kind or ("model" if (folder / "config.json").exists() else "dataset")
    if kind == "model" and license is not None:
        raise ConfigurationError("`license` is for data sets; that of a model stands in its card.")
    patterns = MODEL_FILES if kind == "model" else DATASET_FILES
    more = (*((TRAINING_INDEX,) if include_training_index else ()), *(EXAMPLES if allow_examples else ()))
    rewrite = partial(rewrite_card, repo_id=repo_id, license=license)
    selection = select_files(folder, patterns, rewrite, more=more)
    if not allow_examples:
        check_examples(selection)
    facts: dict[str, Any] = {}
    if kind == "model":
        check_model(folder, selection)
    else:
        facts = check_dataset(folder, selection)
    return PushPlan(kind, repo_id, selection, facts)


def check_repo_id(repo_id: str) -> None:
    """Raises ConfigurationError unless it is "ORG/NAME" as the Hub takes it."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ConfigurationError(f"`repo_id` must be ORG/NAME as the Hub allows it: {error}") from None
    if repo_id.count("/") != 1:
        raise ConfigurationError(f"`repo_id` must be ORG/NAME, got '{repo_id}'.")


def push(
    plan: PushPlan, *, revision: str = MAIN, tag: str | None = None, private: bool = False, api: HfApi | None = None
) -> CommitInfo:
    """Sends a plan: large files first, which a second try does not send again, then everything in one commit.

    A repository or branch that is not there is made. Weights, code and tables that an earlier push left and this one
    does not have are deleted in the same commit; other files of the repository stay.

    Args:
        plan: What `plan_push` returned.
        revision: Branch; made from main where it is new.
        tag: Tag for the commit; must be new.
        private: Make a new repository private; one that is there must be so.
        api: Client; by default one with the token of the environment.

    Raises:
        ConfigurationError: No token, an existing tag, or a public repository where `private` is asked.
        PushError: The Hub refused, or could not be reached.
    """
    api = api or HfApi(token=environment_token())
    try:
        api.whoami()
        _prepare(api, plan, tag, private)
        if revision != MAIN:
            api.create_branch(plan.repo_id, branch=revision, repo_type=plan.kind, exist_ok=True)
        additions = [
            CommitOperationAdd(file.path, file.content if isinstance(file.content, bytes) else str(file.content))
            for file in plan.selection.files
        ]
        api.preupload_lfs_files(plan.repo_id, additions, repo_type=plan.kind, revision=revision, free_memory=False)
        commit = _commit(api, plan, additions, revision)
    except (HfHubHTTPError, httpx2.HTTPError, RuntimeError, ValueError) as error:
        if isinstance(error, PhenoLIPError):
            raise
        raise PushError(
            f"{explain(error, plan.repo_id)} Nothing was published; large files that arrived are kept."
        ) from error
    if tag is not None:
        _tag(api, plan, tag, commit.oid)
    return commit


def environment_token() -> str:
    """The token; raises ConfigurationError where the environment has none."""
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise ConfigurationError(
            f"`{TOKEN}` must be set to a token with the right to write; it is read from nowhere else."
        )
    return token


def explain(error: BaseException, repo_id: str) -> str:
    """What the Hub's refusal means, in a sentence."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    response = next((found for one in chain if (found := getattr(one, "response", None)) is not None), None)
    if response is None:
        reason = " ".join(str(chain[-1]).split())[:200] or type(chain[-1]).__name__
        is_lost = any(isinstance(one, (httpx2.HTTPError, OSError)) for one in chain)
        kind = "The connection failed" if is_lost else "The Hub's answer cannot be used"
        return f"{kind}: {reason.rstrip('.')}; run the same command again."
    status = response.status_code
    if status == 401:
        return f"The Hub does not know the token in `{TOKEN}` (401); make one with the right to write."
    if status == 403:
        return f"The token in `{TOKEN}` may not write to {repo_id} (403); use one with that right."
    if status == 404:
        return f"{repo_id}, or the branch, is not there for this token (404)."
    if status == 412:
        return f"Somebody else committed to {repo_id} meanwhile (412); look, and run the same command again."
    if status == 429 or status >= 500:
        return f"The Hub did not take it after several tries ({status}); run the same command again later."
    said = response.headers.get("X-Error-Message") or " ".join(str(error).split())[:200]
    return f"The Hub refused ({status}): {said.rstrip('.')}."


def _prepare(api: HfApi, plan: PushPlan, tag: str | None, private: bool) -> None:
    """The repository is there, as public or private as asked, and the tag is free."""
    try:
        known = api.repo_info(plan.repo_id, repo_type=plan.kind)
    except RepositoryNotFoundError:
        api.create_repo(plan.repo_id, repo_type=plan.kind, private=private or None, exist_ok=True)
        return
    if private and not known.private:
        raise ConfigurationError(f"`private` cannot be kept: {plan.repo_id} is public; change that, or name another.")
    if tag is not None:
        _check_tag(tag, [ref.name for ref in api.list_repo_refs(plan.repo_id, repo_type=plan.kind).tags], plan.repo_id)


def _check_tag(tag: str, known: Sequence[str], repo_id: str) -> None:
    if tag in known:
        raise ConfigurationError(f"`tag` must be new, but {repo_id} has '{tag}'; tags: {', '.join(sorted(known))}.")


def _commit(api: HfApi, plan: PushPlan, additions: list[CommitOperationAdd], revision: str) -> CommitInfo:
    """One commit on the head that was seen; tried again where the Hub stumbles, which cannot commit twice.

    A try whose answer was lost may have been taken: then no file differs any more, and its commit is returned.
    """
    stumbled = False
    for number in range(NUM_COMMIT_TRIES):
        head = api.repo_info(plan.repo_id, repo_type=plan.kind, revision=revision)
        there = {sibling.rfilename for sibling in head.siblings or []}
        stale = there - {addition.path_in_repo for addition in additions}
        operations = [
            *additions,
            *(CommitOperationDelete(path) for path in sorted(stale) if _OURS[plan.kind].fullmatch(path)),
        ]
        try:
            return api.create_commit(
                plan.repo_id,
                operations,
                commit_message=f"Push {plan.kind} with phenolip",
                repo_type=plan.kind,
                revision=revision,
                parent_commit=head.sha,
            )
        except (HfHubHTTPError, httpx2.HTTPError) as error:
            status = getattr(getattr(error, "response", None), "status_code", 503)
            if number + 1 == NUM_COMMIT_TRIES or not (status >= 500 or (status == 412 and stumbled)):
                raise
            stumbled = True
            time.sleep(WAIT_S * 2**number)
    raise AssertionError("the loop returns or raises")


def _tag(api: HfApi, plan: PushPlan, tag: str, oid: str) -> None:
    try:
        api.create_tag(plan.repo_id, tag=tag, revision=oid, repo_type=plan.kind)
    except (HfHubHTTPError, httpx2.HTTPError) as error:
        raise PushError(
            f"Published as {oid[:8]}, but without the tag '{tag}': {explain(error, plan.repo_id)}"
        ) from error
