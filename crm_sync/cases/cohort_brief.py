"""What agents are told of many devices at once: title, brief and ending of a major case, in the company's language."""

from collections.abc import Sequence
from typing import Final

from crm_sync.cases.desk import Desk
from crm_sync.incidents import Finding, IncidentNotice
from crm_sync.model import Subject
from crm_sync.wording.model import Cohort
from crm_sync.wording.wording import Local

_MANY_MODELS: Final = 4


class CohortWriter:
    """Writes of one incident; without findings it stays at the words that the notice came with."""

    def __init__(self, desk: Desk, notice: IncidentNotice) -> None:
        self._desk = desk
        self._notice = notice
        self._wording = desk.wording
        self._words: Cohort = desk.wording.words.cohort

    def title(self) -> str:
        """The headline."""
        notice, words = self._notice, self._words
        if not notice.findings:
            return notice.title
        if notice.firmware is None:
            return words.dip_title.format(where=self._where(_scope(notice)))
        pattern = words.firmware_title_in if notice.region else words.firmware_title
        problems = self._listed([self._problem(each) for each in notice.problems])
        return pattern.format(
            product=self._product(notice.model), region=notice.region, firmware=notice.firmware, problems=problems
        )

    def brief(self) -> str:
        """What happened, what to do, what to say and what not to do."""
        headings, advice = self._wording.words.headings, self._wording.words.cohort_advice.get(self._notice.kind)
        sections = [(headings.what_happened, self._what_happened())]
        if advice is not None:
            sections += [
                (headings.what_to_do, advice.what_to_do),
                (headings.what_to_say, advice.what_to_say),
                (headings.what_not_to_do, advice.what_not_to_do),
            ]
        return "\n\n".join(f"{heading}\n{text}" for heading, text in sections if text)

    def ending(self, now_s: float) -> str:
        """What remains to be said when it is over."""
        notice, words = self._notice, self._words
        pattern = words.over_but if notice.going_on else words.over
        moment = Local(self._wording, None).noted(now_s, now_s)
        return pattern.format(moment=moment, count=notice.going_on, alarms=notice.alarms)

    def _what_happened(self) -> str:
        told = [self._dip(each) if each.problem is None else self._firmware(each) for each in self._notice.findings]
        return "\n".join(told) or self._notice.says

    def _firmware(self, finding: Finding) -> str:
        words = self._words
        pattern = words.firmware_in if finding.region else words.firmware
        told = [
            pattern.format(
                affected=finding.affected,
                devices=finding.devices,
                share=self._share(finding.affected, finding.devices),
                firmware=self._notice.firmware,
                product=self._product(self._notice.model),
                region=finding.region,
                problem=self._problem(finding.problem or ""),
            )
        ]
        if finding.others:
            share = self._share(finding.others_affected, finding.others)
            told.append(words.others.format(others=finding.others, affected=finding.others_affected, share=share))
        told.append(words.usual.format(expected=self._rounded(finding.expected)))
        if not finding.others:
            told.append(words.alone)
        return " ".join(told)

    def _dip(self, finding: Finding) -> str:
        words = self._words
        by_model = sorted(finding.by_model.items(), key=lambda item: (-item[1], item[0]))
        models = [words.model.format(count=count, product=self._product(name)) for name, count in by_model]
        if len(models) > _MANY_MODELS:
            models[_MANY_MODELS:] = [words.more_models.format(count=len(models) - _MANY_MODELS)]
        told = words.dip.format(
            affected=finding.affected,
            devices=finding.devices,
            where=self._where(finding.scope or "*"),
            share=self._share(finding.affected, finding.devices),
            models=self._listed(models),
        )
        return f"{told} {words.usual.format(expected=self._rounded(finding.expected))} {words.dip_means.strip()}"

    def _where(self, scope: str) -> str:
        kind, _, name = scope.partition(":")
        if kind == "region":
            return self._words.in_region.format(region=name)
        return self._words.of_model.format(product=self._product(name)) if kind == "model" else self._words.of_fleet

    def _product(self, model: str | None) -> str:
        profile = self._desk.profile_of(self._about(model))
        return (model or self._wording.words.product.unnamed) if profile is None else profile.title

    def _problem(self, problem: str) -> str:
        """What a problem is called: by the profile's playbook, else by its name."""
        profile = self._desk.profile_of(self._about(self._notice.model))
        titles = {} if profile is None else {each.problem: each.title for each in profile.playbooks}
        title = titles.get(problem, "")
        if not title:
            return problem.replace("_", " ").replace("-", " ")
        return title if title[1:2].isupper() else title[:1].lower() + title[1:]

    def _about(self, model: str | None) -> Subject:
        incident_id = self._notice.incident_id
        return Subject(self._notice.tenant_id, incident_id, incident_id, model)

    def _listed(self, names: Sequence[str]) -> str:
        if len(names) < 2:  # noqa: PLR2004
            return "".join(names)
        return self._words.listed.format(some=", ".join(names[:-1]), last=names[-1])

    def _share(self, part: int, whole: int) -> str:
        return self._words.share.format(percent=self._rounded(100 * part / whole if whole else 0.0))

    def _rounded(self, value: float) -> str:
        return self._wording.number(float(f"{value:.2g}"))


def _scope(notice: IncidentNotice) -> str:
    if notice.region is not None:
        return f"region:{notice.region}"
    return "*" if notice.model is None else f"model:{notice.model}"
