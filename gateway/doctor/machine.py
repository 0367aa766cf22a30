"""This machine: room on disk, compiled loops, open files, certificates."""

import os
import resource
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from gateway.doctor.certificates import CertificateError, not_after_s
from gateway.doctor.finding import Finding, judge
from gateway.doctor.loops import examine_loops
from gateway.running import find_gateway
from gateway.settings import Settings

LEAST_FREE_BYTES: Final = 2 << 30
LEAST_FREE: Final = 0.05
SPARE_FILES: Final = 64  # for the database, the API, logs
SOON_S: Final = 21 * 86_400.0
_DAY_S: Final = 86_400.0


def examine_machine(settings: Settings) -> list[Finding]:
    """What this machine gives the gateway."""
    findings = [_state_folder(settings), *examine_loops()]
    if settings.listen.enabled:
        findings.append(_files(settings))
    return [*findings, *_certificates(settings)]


def disk_finding(what: str, folder: Path) -> Finding | None:
    """How much room there is where a folder lies; None where it is not to be seen from here."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return judge_disk(what, usage.free, usage.total)


def judge_disk(what: str, free: int, total: int) -> Finding:
    """Whether so much room is enough."""
    says = f"{free / 2**30:.1f} GiB of {total / 2**30:.1f} GiB free"
    fix = "make room, or set retention: on a full disk nothing is stored, and devices keep what they have"
    return judge(what, says, fix, ok=free >= min(LEAST_FREE_BYTES, total // 4) and free >= LEAST_FREE * total)


def _state_folder(settings: Settings) -> Finding:
    folder = settings.state.folder
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        fix = "give the gateway's user this folder, or name another in state.folder"
        return Finding("state folder", ok=False, says=f"{there} cannot be written", fix=fix)
    found = disk_finding("state folder", there)
    assert found is not None  # we have just been there
    return replace(found, says=f"{folder}: {found.says}")


def _files(settings: Settings) -> Finding:
    wanted = settings.listen.max_connections
    running = find_gateway(settings)
    allowed = _limit_of(running.pid) if running is not None else resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    fix = (
        f"raise the limit on open files above {wanted + SPARE_FILES} (ulimit -Hn, LimitNOFILE= in a systemd unit), "
        "or lower listen.max_connections"
    )
    if allowed is None or allowed == resource.RLIM_INFINITY:
        return Finding("open files", ok=True, says="no limit that we can see")
    says = f"{allowed:,} allowed: room for about {max(allowed - SPARE_FILES, 0):,} devices of {wanted:,}"
    return judge("open files", says, fix, ok=allowed >= wanted)


def _limit_of(pid: int) -> int | None:
    """The hard limit of a process; None where it cannot be seen."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
        (line,) = [line for line in lines if line.startswith("Max open files")]
        return int(line.split()[4])
    except (OSError, ValueError, IndexError):
        return None


def _certificates(settings: Settings) -> Iterator[Finding]:
    """Each certificate that we show, and each file of authorities that we trust."""
    listen, subscribe = settings.listen.tls, settings.subscribe.tls
    shown = [("listen.tls.certificate", listen.certificate)]
    trusted = [("listen.tls.client_ca", listen.client_ca)]
    if settings.subscribe.enabled and subscribe.enabled:
        shown.append(("subscribe.tls.certificate", subscribe.certificate))
        trusted.append(("subscribe.tls.ca", subscribe.ca))
    for number, endpoint in enumerate(settings.crm.endpoints):
        trusted.append((f"crm.endpoints.{number}.ca_file", endpoint.ca_file))
    yield from (certificate_finding(name, path, min, time.time()) for name, path in shown if path)
    # Of authorities one that lasts is enough, of a chain every part must.
    yield from (certificate_finding(name, path, max, time.time()) for name, path in trusted if path)


def certificate_finding(name: str, path: str, which: Callable[[list[float]], float], now_s: float) -> Finding:
    """How long the certificates of a PEM file are valid; `which` of them counts: the first to end, or the last."""
    try:
        text = Path(path).expanduser().read_text("ascii")
        ends_s = which([not_after_s(ssl.PEM_cert_to_DER_cert(pem)) for pem in _pems(text)])
    except (OSError, ValueError, CertificateError) as error:
        fix = "name a PEM file that the gateway's user can read"
        return Finding(f"certificate {name}", ok=False, says=f"{path}: {error}", fix=fix)
    return judge_expiry(f"certificate {name}", ends_s, now_s)


def judge_expiry(what: str, ends_s: float, now_s: float) -> Finding:
    """Whether a certificate is valid for long enough yet."""
    day = time.strftime("%Y-%m-%d", time.gmtime(ends_s))
    left = f"for {(ends_s - now_s) / _DAY_S:.0f} days" if ends_s > now_s else "no longer"
    return judge(what, f"valid {left}, until {day}", "renew it, then restart the gateway", ok=ends_s - now_s > SOON_S)


def _pems(text: str) -> list[str]:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    found = [part[part.index(begin) :] + end for part in text.split(end) if begin in part]
    if not found:
        raise CertificateError("no certificate in it")
    return found
