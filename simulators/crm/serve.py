"""A sandbox CRM put together from its parts."""

import base64
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from devices.clock import Clock
from simulators.crm.agent import Agent, AgentHabits
from simulators.crm.misbehave import Misbehaviour
from simulators.crm.sandbox import Handled, Sandbox, SandboxServer


def new_secret(rng: np.random.Generator) -> str:
    """A Standard Webhooks secret; of a simulation, so a seeded one will do."""
    return "whsec_" + base64.b64encode(rng.bytes(32)).decode()


@dataclass(frozen=True, slots=True)
class SandboxPlan:
    """What a sandbox is made of."""

    secret: str
    misbehaviour: Misbehaviour
    habits: AgentHabits
    seed: int
    host: str = "127.0.0.1"
    port: int = 0


def make_sandbox(
    plan: SandboxPlan,
    clock: Clock,
    callback_url: Callable[[], str | None],
    watch: Callable[[Handled], None] = lambda _handled: None,
) -> SandboxServer:
    """A sandbox with an agent who calls back to `callback_url` as soon as that is known."""
    whims, work = (np.random.default_rng(seed) for seed in np.random.SeedSequence(plan.seed).spawn(2))
    agent = Agent(callback_url, plan.secret, clock, work, plan.habits)
    sandbox = Sandbox(plan.secret, plan.misbehaviour, whims, agent, watch)
    return SandboxServer(sandbox, plan.host, plan.port)
