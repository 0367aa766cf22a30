"""A device may subscribe to its own commands, and to nothing else."""

import pytest

from gateway.authority import Authority
from gateway.doors.listen.reach import Reach
from gateway.doors.listen.subscriptions import Subscriptions
from gateway.doors.mqtt.codes import ReasonCode
from gateway.doors.routes import Routes

REACH = Reach(Routes(), Authority())


@pytest.mark.parametrize(
    ("topic_filter", "code"),
    [
        ("devices/d1/commands/+", 1),
        ("devices/d1/commands/c-7", 1),
        ("devices/d1/commands/#", ReasonCode.NOT_AUTHORIZED),
        ("devices/d2/commands/+", ReasonCode.NOT_AUTHORIZED),
        ("devices/+/commands/+", ReasonCode.NOT_AUTHORIZED),
        ("devices/d1/telemetry", ReasonCode.NOT_AUTHORIZED),
        ("#", ReasonCode.NOT_AUTHORIZED),
        ("$SYS/#", ReasonCode.NOT_AUTHORIZED),
        ("$share/g/devices/d1/commands/+", ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED),
        ("devices/d1/commands+", ReasonCode.TOPIC_FILTER_INVALID),
        ("devices/#/commands", ReasonCode.TOPIC_FILTER_INVALID),
        ("", ReasonCode.TOPIC_FILTER_INVALID),
    ],
)
def test_what_is_granted(topic_filter: str, code: int) -> None:
    assert Subscriptions("d1", 5, REACH).add(topic_filter, 2) == code
    assert Subscriptions("d1", 4, REACH).add(topic_filter, 2) == (1 if code == 1 else 0x80)


def test_a_command_is_sent_at_the_highest_qos_granted_for_it() -> None:
    subscriptions = Subscriptions("d1", 5, REACH)
    assert subscriptions.qos_of("devices/d1/commands/c-7") is None
    subscriptions.add("devices/d1/commands/+", 0)
    assert subscriptions.qos_of("devices/d1/commands/c-7") == 0
    subscriptions.add("devices/d1/commands/c-7", 1)
    assert subscriptions.qos_of("devices/d1/commands/c-7") == 1
    assert subscriptions.qos_of("devices/d1/commands/c-8") == 0


def test_subscriptions_are_few_and_can_be_given_up() -> None:
    subscriptions = Subscriptions("d1", 5, REACH)
    codes = [subscriptions.add(f"devices/d1/commands/c{number}", 1) for number in range(9)]
    assert codes == [1] * 8 + [ReasonCode.QUOTA_EXCEEDED]
    assert subscriptions.add("devices/d1/commands/c0", 0) == 0
    assert subscriptions.remove("devices/d1/commands/c0") == ReasonCode.SUCCESS
    assert subscriptions.remove("devices/d1/commands/c0") == ReasonCode.NO_SUBSCRIPTION_EXISTED
