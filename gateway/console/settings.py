"""Settings of the console."""

from pydantic import BaseModel, ConfigDict


class ConsoleSettings(BaseModel):
    """The pages for people."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    banner: str = ""  # said at the top of every page
    scorecard: str = ""  # a demo's report, which is a page then
