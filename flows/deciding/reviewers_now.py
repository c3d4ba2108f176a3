"""Who of the reviewers of an update's policy is still one: a key that was taken out counts no more.

The signed evidence says who were reviewers when the update ran. Who still is, only the policy's
file of reviewers can say, as it is now: by the path that the update was asked with.

Limit: updates from before that path was kept are answered for by the reviewers of their time.
"""

from pathlib import Path

from tidegate.flows.asked import recall
from tidegate.flows.deciding.version import Undecidable
from tidegate.flows.home import Home
from tidegate.flows.looking_back.history import Past
from tidegate.gates.policy.load import load_policy
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.yaml_file import YamlError


def policy_now(home: Home, past: Past, given: Policy | None = None) -> Policy:
    """The update's policy with those of its reviewers who are still in the file, just so.

    given: the policy as it is today, instead of the file that the update was asked with.
    Nobody becomes a reviewer by this, and no rule changes. Raises Undecidable if the policy, or
    its file of reviewers, cannot be read: then nobody knows who may still answer.
    """
    asked = recall(home, past.entry.update_id)
    if not past.policy.reviewers or (asked is None and given is None):
        return past.policy
    if given is None:
        assert asked is not None
        try:
            given = load_policy(Path(asked.policy))
        except (OSError, YamlError) as no:
            raise Undecidable(
                f"{asked.policy}: the policy of version {past.entry.version} cannot be read, so "
                f"nobody knows who may still answer ({no}); put it back with its file of "
                "reviewers (tidegate approve also takes it by --policy), or run the update again: "
                f"tidegate update batch:{past.batch.digest} --policy POLICY.yaml"
            ) from None
    left = tuple(one for one in past.policy.reviewers if one in given.reviewers)
    return past.policy.model_copy(update={"reviewers": left})
