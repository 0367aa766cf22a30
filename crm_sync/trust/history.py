"""The score history of each watch: every episode has one place in it, and moves as it grows, lasts, or is judged."""

from dataclasses import dataclass, replace
from typing import Final

from crm_sync.trust import queries
from crm_sync.trust.belief import Cell
from crm_sync.trust.queries import Connection, Episode, WatchKey
from crm_sync.trust.scale import fade, lasting_of, strength_of

SOURCES: Final = ("telemetry", "owner", "retraction", "agent", "person")
"""Who may say whether an alarm was true; each outweighs those before it."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a notice says of an episode."""

    alarm_id: str
    key: WatchKey
    score: float
    lasted_s: float  # device time, so far


async def place(conn: Connection, seen: Sighting, now_s: float, half_s: float) -> Episode:
    """Note how strong and lasting an episode is by now."""
    known = await queries.find_episode(conn, seen.alarm_id)
    score = max(seen.score, 0.0 if known is None else known.score)
    lasting = max(lasting_of(seen.lasted_s), 0 if known is None else known.lasting)
    if known is None:
        episode = Episode(seen.alarm_id, seen.key, score, strength_of(score), lasting, now_s)
        await _add(conn, episode, 1.0, now_s, half_s)
    else:
        episode = replace(known, score=score, strength=strength_of(score), lasting=lasting)
        if (episode.strength, episode.lasting) == (known.strength, known.lasting):
            return known
        await _move(conn, known, episode, now_s, half_s)
    await queries.save_episode(conn, episode)
    return episode


async def judge(conn: Connection, known: Episode, judged: Episode, now_s: float, half_s: float) -> None:
    """Note what became of an episode."""
    await _move(conn, known, judged, now_s, half_s)
    await queries.judge_episode(conn, judged, now_s)


def has_said_more(episode: Episode, source: str) -> bool:
    """Whether somebody who knows better has judged it before."""
    return episode.source is not None and SOURCES.index(episode.source) > SOURCES.index(source)


def own_cell(episode: Episode, share: float) -> Cell:
    """What an episode adds to its cell; `share` is what is left of its weight."""
    right = share * episode.weight if episode.verdict == "true" else 0.0
    wrong = share * episode.weight if episode.verdict == "false" else 0.0
    return Cell(episode.strength, episode.lasting, share - right - wrong, right, wrong)


def less(cell: Cell) -> Cell:
    """The same weights, to be taken away."""
    return replace(cell, standing=-cell.standing, right=-cell.right, wrong=-cell.wrong)


async def _move(conn: Connection, known: Episode, moved: Episode, now_s: float, half_s: float) -> None:
    standing = await queries.find_standing(conn, known.key)
    if standing is not None and known.placed_at_s < standing.changed_at_s:
        return  # the watch was edited since: its history began anew, without this one
    await _add(conn, known, -1.0, now_s, half_s)
    await _add(conn, moved, 1.0, now_s, half_s)


async def _add(conn: Connection, episode: Episode, sign: float, now_s: float, half_s: float) -> None:
    own = own_cell(episode, fade(episode.placed_at_s, now_s, half_s))
    await queries.add_to_cell(conn, episode.key, own if sign > 0 else less(own), now_s, half_s)
