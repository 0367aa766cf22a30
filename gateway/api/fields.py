"""Fields that many calls have: names without control characters, moments with an offset, words of people."""

from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

from devices.clock import within_reach


def _no_nul(text: str) -> str:
    if "\0" in text:
        message = "no text has a NUL in it"
        raise ValueError(message)
    return text


Name = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_no_nul)]
Text = Annotated[str, AfterValidator(_no_nul)]
Why = Annotated[str, Field(max_length=1000), AfterValidator(_no_nul)]
Reason = Annotated[
    str, Field(min_length=1, max_length=1000, description="Kept in the audit trail."), AfterValidator(_no_nul)
]
Behalf = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=100,
        description="On whose behalf; only the settings' own token may say so, everybody else acts as themselves.",
    ),
    AfterValidator(lambda text: text if text is None else _no_nul(text)),
]
Instant = Annotated[AwareDatetime, AfterValidator(within_reach)]
BigNumber = Annotated[int, Field(ge=0, le=2**63 - 1)]
