"""Who of the reviewers of an update's policy is still one: a key that was taken out counts no more.

The signed evidence says who were reviewers when the update ran. Who still is, only the policy's
file of reviewers can say, as it is now: by the path that the update was asked with.

Limit: updates from before that path was kept are answered for by the reviewers of their time.
"""

from pathlib import Path

from tidegate.flows.asked import recall
from tidegate.flows.home import Home
from tidegate.flows.looking_back.history import Past
from tidegate.flows.usage import UsageError
from tidegate.gates.policy.load import load_policy
from tidegate.gates.policy.nouns import Policy


def policy_now(home: Home, past: Past) -> Policy:
    """The update's policy with those of its reviewers who are still in the file, just so.

    Nobody becomes a reviewer by this, and no rule changes. Raises UsageError if the policy is
    not where it was any more, and YamlError if it, or the file of reviewers, cannot be read.
    """
    asked = recall(home, past.entry.update_id)
    if asked is None or not past.policy.reviewers:
        return past.policy
    path = Path(asked.policy)
    if not path.is_file():
        raise UsageError(
            f"{path}: the policy of version {past.entry.version} is not there any more, so nobody "
            "knows who of its reviewers still is one; put it back with its file of reviewers, or "
            f"run the update again: tidegate update batch:{past.batch.digest} --policy POLICY.yaml"
        )
    today = load_policy(path).reviewers
    left = tuple(one for one in past.policy.reviewers if one in today)
    return past.policy.model_copy(update={"reviewers": left})
