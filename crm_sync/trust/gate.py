"""What is asked before an alarm becomes a case: may its watch open cases by itself, and does the budget have room?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from crm_sync.policy.model import Gate, GateAnswer, Outcome, Reason
from crm_sync.together import together
from crm_sync.trust import budget_queries, queries
from crm_sync.trust.bar import bar_now
from crm_sync.trust.belief import Belief, Cell, believe, by_outcomes, tail_of
from crm_sync.trust.budget import Accounts, Exemption, Verdict, book, pass_time, rule
from crm_sync.trust.budget_queries import Budget
from crm_sync.trust.history import less, own_cell
from crm_sync.trust.queries import Connection, Episode, Standing, WatchKey
from crm_sync.trust.rules import TrustRules
from crm_sync.trust.scale import fade, lasting_of
from crm_sync.trust.settings import BudgetSettings
from devices.profiles.model import WatchMode


@dataclass(frozen=True, slots=True)
class Question:
    """An alarm that asks for a case."""

    key: WatchKey
    alarm_id: str
    started_at_s: float
    critical: bool
    stated: bool = False  # a limit that somebody has set was passed


@dataclass(frozen=True, slots=True)
class Room:
    """The budget's answer, and what has to be written down if the case opens."""

    answer: GateAnswer
    cost: float
    accounts: Accounts
    budget: Budget


def is_stated(kind: str) -> bool:
    """Whether a kind of alarm says that a limit was passed which somebody has set: that is not to be weighed."""
    return kind == "threshold"


def mode_answer(standing: Standing | None) -> GateAnswer:
    """Whether a watch may open cases, and whether a person is asked first."""
    if standing is None:
        return GateAnswer(Gate.MODE, Outcome.ALLOW, None, {"mode": "unknown"})
    inputs = {"model": standing.key.model, "watch": standing.key.watch, "mode": str(standing.mode)}
    if standing.mode is WatchMode.SHADOW:
        return GateAnswer(Gate.MODE, Outcome.REFUSE, Reason.SHADOW, inputs)
    return GateAnswer(Gate.MODE, Outcome.ALLOW, None, inputs)


async def find_room(conn: Connection, rules: TrustRules, question: Question, now_s: float) -> Room:
    """Ask the budget of the alarm's tenant; it is held until the transaction ends."""
    settings, key = rules.budget, question.key
    standing, episode, cells_by_watch, budget = await together(
        queries.find_standing(conn, key),
        queries.find_episode(conn, question.alarm_id),
        queries.cells_of(conn, [key], now_s, settings.memory),
        budget_queries.lock_budget(conn, key.tenant_id),
    )
    cells = cells_by_watch[key]
    if budget is None:
        budget = Budget(Accounts.fresh(settings, now_s), 0, None)
    accounts = pass_time(budget.accounts, settings, budget.devices, now_s)
    bar = 0.0 if standing is None else bar_now(standing.bar, standing.bar_at_s, now_s, rules.trust)
    exempt = exemption(settings, budget.devices, cells, stated=question.stated)
    if exempt is None:  # otherwise nothing hangs on them
        since_s = now_s - rules.trust.answers_within
        cells += (await queries.unanswered_of(conn, [key], since_s, besides=question.alarm_id))[key]
    belief = weigh(settings, Known(standing, episode, cells), question.started_at_s, now_s)
    ruling = rule(accounts, settings, belief, bar, critical=question.critical, exempt=exempt)
    cost = belief.cost if exempt is None else 1.0 - exempt.belief
    inputs = {
        **ruling.as_inputs(),
        **belief.as_inputs(),
        **({} if exempt is None else {"by_outcomes": round(exempt.belief, 4)}),
        "bar": round(bar, 4),
        "score": None if episode is None else round(episode.score, 4),
    }
    return Room(_answer(ruling.verdict, inputs), cost, accounts, budget)


def exemption(settings: BudgetSettings, devices: int, cells: list[Cell], *, stated: bool) -> Exemption | None:
    """Whether an alarm is no guess, or the fleet too small for guesses: then only what was said of cases counts."""
    if not stated and devices >= settings.small_fleet:
        return None
    verdict = Verdict.STATED if stated else Verdict.SMALL_FLEET
    return Exemption(verdict, by_outcomes(tail_of(cells, 0, 0)))


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an alarm and its watch."""

    standing: Standing | None
    episode: Episode | None
    cells: list[Cell]  # the watch's history, with this episode in it, and other cases that nobody has answered yet


def weigh(settings: BudgetSettings, known: Known, started_at_s: float, now_s: float) -> Belief:
    """How likely an alarm is true that has lasted until now, by all others of its watch."""
    episode, lasting = known.episode, lasting_of(now_s - started_at_s)
    strength, cells = 0, known.cells
    if episode is not None:
        strength, lasting = episode.strength, max(episode.lasting, lasting)
        if not _is_forgotten(episode, known.standing):
            cells = [*cells, less(own_cell(episode, fade(episode.placed_at_s, now_s, settings.memory)))]
    rate = settings.expected_faults_per_thousand_devices_per_day / 1000.0
    device_days = 0.0 if known.standing is None else known.standing.device_days
    return believe(tail_of(cells, strength, lasting), tail_of(cells, 0, 0), device_days, rate)


def _is_forgotten(episode: Episode, standing: Standing | None) -> bool:
    """Whether an episode is from before its watch was edited, and the history of the present one is without it."""
    return standing is not None and episode.placed_at_s < standing.changed_at_s


def _answer(verdict: Verdict, inputs: Mapping[str, object]) -> GateAnswer:
    if verdict.passes:
        return GateAnswer(Gate.BUDGET, Outcome.ALLOW, None, inputs)
    return GateAnswer(Gate.BUDGET, Outcome.REFUSE, Reason.BUDGET, inputs)


async def take_room(conn: Connection, rules: TrustRules, question: Question, room: Room, case_id: str) -> None:
    """Book a case that has opened for an alarm."""
    accounts = book(room.accounts, rules.budget, room.cost)
    await budget_queries.save_budget(conn, question.key.tenant_id, replace(room.budget, accounts=accounts))
    await queries.book_episode(conn, question.alarm_id, case_id, room.cost)
