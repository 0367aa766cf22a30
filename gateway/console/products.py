"""What products, their parts and problems are called, and what is to be done, in the reader's language."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from crm_sync.brief import generic_playbook
from crm_sync.wording.wording import Wording
from devices.profiles.model import EVENT_SERIES, Playbook, Profile
from gateway.detect.words import say_metric, say_span

_SILENT_FOR: Final = re.compile(r"(?<=^No sign of life for )[^,]+|(?<=^none for )\d.*(?=$)")
"""How long a silence had lasted when its alarm was raised: nothing comes that would have it told anew."""


@dataclass(frozen=True, slots=True)
class Product:
    """One product model in the words of one language; those of its profile, as far as it has any."""

    written: Profile | None  # as it stands in its file
    wording: Wording
    language: str

    @property
    def told(self) -> Profile | None:
        """The profile in the reader's language."""
        return None if self.written is None else self.written.in_language(self.language)

    @property
    def playbooks(self) -> tuple[Playbook, ...]:
        """What is done about its problems, in the reader's language."""
        return () if self.told is None else tuple(self.told.playbooks)

    def title(self, model: str | None) -> str:
        """What the model is called."""
        return self.told.title if self.told is not None and not self.told.automatic else model or ""

    def metric(self, name: str) -> str:
        """What a metric, or the events of a code, are called."""
        if name.startswith(EVENT_SERIES):
            return self.event(name.removeprefix(EVENT_SERIES))
        known = None if self.told is None else self.told.metrics.get(name)
        return (known.title if known else "") or name.replace("_", " ")

    def event(self, code: str) -> str:
        """What the events of a code are called."""
        return self._event_title(code) or code.replace("_", " ")

    def _event_title(self, code: str) -> str:
        known = None if self.told is None else self.told.events.get(code)
        return "" if known is None else known.title

    def watch(self, name: str) -> str:
        """What a watch is called."""
        titles = {} if self.told is None else {watch.name: watch.title for watch in self.told.watches}
        return titles.get(name) or name

    def said(self, metric: str | None, text: str, lasts_s: float | None = None) -> str:
        """What a detector said of a metric; a silence that goes on is as long as it is by now, `lasts_s`.

        Where that is nothing, the device's clock is ahead, and it is as long as it was when that was said.
        """
        told = self.wording.phrase(_SILENT_FOR.sub(say_span(lasts_s), text) if lasts_s and lasts_s > 0 else text)
        for name in self._spoken(metric):
            if told.startswith(name):
                return f"{_capital(self.metric(metric or ''))}{told[len(name) :]}"
        return told

    def _spoken(self, metric: str | None) -> tuple[str, ...]:
        """How detectors begin a sentence about a metric, or about the events of a code that has a title."""
        if metric is None:
            return ()
        if not metric.startswith(EVENT_SERIES):
            return (metric.replace("_", " ").capitalize(),)
        code = metric.removeprefix(EVENT_SERIES)
        return (say_metric(metric), f"Event {code}") if self._event_title(code) else ()  # as it was said once

    def case(self, problem: str, title: str) -> str:
        """The title of a case, which was written in the company's language; one that no profile has stays as it is."""
        playbook = self._playbook(problem)
        return playbook.title if playbook is not None and title in self._titles_of(problem) else title

    def advice(self, problem: str, kind: str) -> Playbook:
        """What to think of a problem, what to say and what not to do."""
        return self._playbook(problem) or generic_playbook(self.told, problem, kind, self.wording)

    def _playbook(self, problem: str) -> Playbook | None:
        known = () if self.told is None else self.told.playbooks
        return next((each for each in known if each.problem == problem), None)

    def _titles_of(self, problem: str) -> set[str]:
        """What the profile calls a problem, in all its languages."""
        if self.written is None:
            return set()
        titles = {each.title for each in self.written.playbooks if each.problem == problem}
        retold = (words.playbooks.get(problem) for words in self.written.translations.values())
        return titles | {words.title for words in retold if words is not None}


@dataclass(frozen=True, slots=True)
class Products:
    """All product models in the words of one language."""

    profiles: Mapping[str, Profile]
    wording: Wording
    language: str

    def of(self, model: str | None) -> Product:
        """One of them."""
        return Product(self.profiles.get(model or ""), self.wording, self.language)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
