"""Which action is best: the playbook's order; among equals what helped most often, then what troubles owners least."""

from dataclasses import replace
from random import Random

from crm_sync.playbooks.conditions import consider
from crm_sync.playbooks.model import Candidate, Facts, Ranking, Rate, intrusiveness
from devices.profiles.model import Playbook


def rank(playbook: Playbook, facts: Facts, chance: Random) -> Ranking:
    """The playbook's actions, the best first, each with whether its conditions hold.

    Where a person allowed the playbook to explore, the chance of each action to help is drawn from its posterior
    instead of its mean (Thompson, 1933): what is little known is tried now and then, and ever more seldom if it does
    not help. `chance` is the only randomness.
    """
    candidates = [Candidate(position, action) for position, action in enumerate(playbook.actions)]
    strength = {each.position: _strength(each, facts, chance if playbook.explore else None) for each in candidates}

    def key(candidate: Candidate) -> tuple[int, float, int, int]:
        action = candidate.action
        own_rank = candidate.position if action.rank is None else action.rank
        return own_rank, -strength[candidate.position], intrusiveness(action), candidate.position

    considered = tuple(consider(each, facts, explores=playbook.explore) for each in sorted(candidates, key=key))
    if playbook.explore:  # whoever asks later sees that chance had a say, and which
        considered = tuple(
            replace(each, inputs={**each.inputs, "drawn_chance": round(strength[each.candidate.position], 3)})
            for each in considered
        )
    return Ranking(playbook, facts, considered)


def _strength(candidate: Candidate, facts: Facts, chance: Random | None) -> float:
    rate = facts.rates.get(candidate.action.key, Rate())
    return rate.mean if chance is None else chance.betavariate(rate.worked + 1.0, rate.failed + 1.0)
