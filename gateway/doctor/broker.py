"""The broker: whether it lets us in, keeps our session, and queues what comes while we are away.

Everything is done under a client id of the diagnosis, whose session is removed at the end; the gateway's own is not
touched. Topics are the routes' own, with `careloop-doctor` where a device would stand, so that no device is heard.
"""

import os
import socket
import ssl
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

from devices.errors import ConfigError
from gateway.doctor.broker_talk import ANSWER_S, Talk, Welcome
from gateway.doctor.certificates import CertificateError, not_after_s
from gateway.doctor.finding import Finding, judge
from gateway.doctor.machine import judge_expiry
from gateway.doors.settings import SubscribeSettings
from gateway.doors.subscribe.secrets import read_secrets

PROBES: Final = 1_500
_PROBE_TOPIC: Final = "careloop/doctor/{name}"
_DROPPED: Final = "$SYS/broker/publish/messages/dropped"
_VERSION: Final = "$SYS/broker/version"
_SYS_S: Final = 1.0
_LOSES: Final = "the broker loses messages that it acknowledged to devices"


def examine_broker(subscribe: SubscribeSettings, filters: Sequence[str], *, probe: bool) -> list[Finding]:
    """Everything that a client can find out; with `probe` messages are queued too, to see whether they are kept."""
    where = f"{subscribe.host}:{subscribe.port}"
    try:
        context, password = read_secrets(subscribe)
    except ConfigError as error:
        return [Finding("broker", ok=False, says=error.detail, fix="correct the file that is named")]
    talk = Talk(subscribe, context, password, f"careloop-doctor-{os.getpid()}")
    try:
        der = _reach(subscribe, context)
        return [*_certificate(der), *_converse(talk, where, filters, probe=probe)]
    except ssl.SSLError as error:
        fix = "name the authority that signed the broker's certificate in subscribe.tls.ca, and use the port for TLS"
        return [Finding("broker", ok=False, says=f"{where}: TLS fails ({error.reason or error})", fix=fix)]
    except (OSError, ValueError) as error:
        fix = "start the broker, or correct subscribe.host, subscribe.port, subscribe.transport and subscribe.tls"
        return [Finding("broker", ok=False, says=f"{where} takes no connection ({error})", fix=fix)]


def _reach(subscribe: SubscribeSettings, context: ssl.SSLContext | None) -> bytes | None:
    """Connect and hang up; the certificate that was shown, where TLS is spoken. Raises OSError."""
    with socket.create_connection((subscribe.host, subscribe.port), timeout=ANSWER_S) as plain:
        if context is None:
            return None
        with context.wrap_socket(plain, server_hostname=subscribe.host) as tls:
            return tls.getpeercert(binary_form=True)


def _certificate(der: bytes | None) -> list[Finding]:
    if der is None:
        return []
    try:
        return [judge_expiry("certificate broker", not_after_s(der), time.time())]
    except CertificateError as error:
        return [Finding("certificate broker", ok=True, says=f"accepted, though {error}")]


def _converse(talk: Talk, where: str, filters: Sequence[str], *, probe: bool) -> list[Finding]:
    welcome = talk.connect(clean=True)
    if welcome.refusal is not None:
        fix = "correct subscribe.username and its password, or what the broker allows this user"
        return [Finding("broker", ok=False, says=f"{where} refuses us: {welcome.refusal}", fix=fix)]
    with _forgotten(talk):
        if not talk.is_v5:  # there a clean connection leaves no session
            talk.leave()
            talk.connect(clean=False)
        findings = [_promises(where, welcome), _subscriptions(talk, filters), *_numbers_of_its_own(talk)]
        talk.leave()
        again = talk.connect(clean=False)
        findings.append(_session(talk, again))
        if probe:
            findings.append(_queue(talk))
    return findings


@contextmanager
def _forgotten(talk: Talk) -> Generator[None]:
    """Let the broker forget our session at the end."""
    try:
        yield
    finally:
        talk.leave()
        talk.connect(clean=True, session_expiry_s=0)
        talk.leave()


def _promises(where: str, welcome: Welcome) -> Finding:
    """What the broker says at the door about what it can do."""
    if welcome.maximum_qos < 1:
        fix = "allow QoS 1 (Mosquitto: max_qos): at QoS 0 nothing is acknowledged, and nothing is queued"
        return Finding("broker", ok=False, says=f"{where} carries QoS {welcome.maximum_qos} at most", fix=fix)
    if not welcome.has_wildcards:
        fix = "allow wildcard subscriptions: careloop cannot name every device's topic"
        return Finding("broker", ok=False, says=f"{where} offers no wildcard subscriptions", fix=fix)
    return Finding("broker", ok=True, says=f"{where} lets us in")


def _subscriptions(talk: Talk, filters: Sequence[str]) -> Finding:
    names = [each.replace("+", "careloop-doctor").replace("#", "careloop-doctor") for each in filters]
    answers = talk.subscribe(names)
    if len(answers) < len(names):
        fix = "look into the broker's log: it says nothing to our SUBSCRIBE"
        return Finding("broker topics", ok=False, says="SUBSCRIBE is not answered", fix=fix)
    refused = [name for name, answer in zip(names, answers, strict=True) if answer.is_failure]
    lowered = [name for name, answer in zip(names, answers, strict=True) if not answer.is_failure and answer.value < 1]
    says = f"{len(names)} topics granted at QoS 1"
    if refused or lowered:
        says = ", ".join([*(f"{name} is refused" for name in refused), *(f"{name} at QoS 0 only" for name in lowered)])
    fix = "let the gateway's user read these topics at QoS 1 (Mosquitto: acl_file; EMQX: Authorization)"
    return judge("broker topics", says, fix, ok=not (refused or lowered))


def _numbers_of_its_own(talk: Talk) -> list[Finding]:
    """What a broker tells about itself under $SYS; not every broker does, nor to everybody."""
    talk.heard.clear()
    talk.subscribe([_DROPPED, _VERSION])
    talk.until(lambda: {_DROPPED, _VERSION} <= {topic for topic, _ in talk.heard}, _SYS_S)
    said = dict(talk.heard)
    if _DROPPED not in said:
        return [Finding("broker drops", ok=True, says="not told to us ($SYS): watch the broker's own counters")]
    dropped = int(said[_DROPPED] or b"0")
    version = said.get(_VERSION, b"").decode("utf-8", "replace")
    fix = (
        f"{_LOSES}: raise max_queued_messages and max_queued_bytes (Mosquitto), set persistence true, "
        "and see that the gateway's session does not expire while it is away"
    )
    says = f"{dropped:,} messages dropped since its start" + (f" ({version})" if version else "")
    return [judge("broker drops", says, fix, ok=dropped == 0)]


def _session(talk: Talk, again: Welcome) -> Finding:
    """Whether a session outlives its connection, and for how long."""
    wanted_s = round(talk.settings.session_expiry)
    if again.refusal is not None:
        fix = "look into the broker's log: it let the same client in a moment ago"
        return Finding("broker session", ok=False, says=f"the second connection is refused: {again.refusal}", fix=fix)
    if not again.is_known:
        fix = f"let the broker keep sessions: {_LOSES} while the gateway is away"
        return Finding("broker session", ok=False, says="forgotten as soon as we are gone", fix=fix)
    if not talk.is_v5:
        return Finding("broker session", ok=True, says="kept while we are away; for how long MQTT 3.1.1 does not tell")
    talk.leave()
    granted_s = talk.connect(clean=False, session_expiry_s=wanted_s).session_expiry_s
    if granted_s is not None and granted_s < wanted_s:
        fix = f"raise the broker's limit to subscribe.session_expiry: after {granted_s} s {_LOSES}"
        says = f"kept for {granted_s} s, not for the {wanted_s} s that are asked for"
        return Finding("broker session", ok=False, says=says, fix=fix)
    return Finding("broker session", ok=True, says="kept while we are away")


def _queue(talk: Talk) -> Finding:
    """Queue messages for a session that is away, as a fleet does, and see what is left of them."""
    topic = _PROBE_TOPIC.format(name=talk.client_id)
    if [answer.is_failure for answer in talk.subscribe([topic])] != [False]:
        return Finding("broker queue", ok=True, says=f"not tried: {topic} may not be read")
    talk.leave()
    talk.heard.clear()
    sender = Talk(talk.settings, talk.context, talk.password, f"{talk.client_id}-s")
    sender.connect(clean=True, session_expiry_s=0)
    answers = sender.publish(topic, PROBES)
    sender.leave()
    confirmed = sum(not answer.is_failure for answer in answers)
    if confirmed < PROBES:
        return Finding("broker queue", ok=True, says=f"not tried: {topic} may not be written ({confirmed} taken)")
    talk.connect(clean=False)
    talk.until(lambda: len(talk.heard) >= PROBES and len(set(talk.heard)) >= PROBES)
    kept = len({payload for at, payload in talk.heard if at == topic})
    fix = (
        f"{_LOSES}: raise the queue of a session (Mosquitto: max_queued_messages; EMQX: mqtt.max_mqueue_len; "
        "HiveMQ: mqtt.queued-messages.max-queue-size), for it holds what comes while the gateway is away"
    )
    says = f"{kept:,} of {PROBES:,} messages kept for a session that was away"
    return judge("broker queue", says, fix, ok=kept == PROBES)
