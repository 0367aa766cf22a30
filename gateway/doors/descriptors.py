"""How many files, and with that sockets, this process may have open."""

import resource


def raise_file_limit(wanted: int) -> int:
    """Raise the limit to `wanted`, or as far as this process is allowed to; what holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed
