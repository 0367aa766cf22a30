"""How services are found among Debian's packages."""

from dataclasses import replace
from pathlib import Path

from gateway.database.provisioned import Provisioned, cache_folder, find_provisioned
from scripts.provision import libraries, mirrors

LISTED = """\
'http://mirror.example/debian/dists/bookworm/InRelease' mirror.example_debian_dists_bookworm_InRelease 0
'http://mirror.example/debian/dists/bookworm-updates/InRelease' mirror.example_debian_dists_bookworm-updates_InRelease 0
'http://mirror.example/security/dists/bookworm-security/InRelease' mirror.example_security_InRelease 0
'https://vendor.example/repo/dists/stable/InRelease' vendor.example_repo_dists_stable_InRelease 0
'https://vendor.example/flat/./InRelease' vendor.example_flat_InRelease 0
'http://mirror.example/debian/dists/bookworm/main/binary-amd64/Packages.xz' mirror.example_Packages 0
"""

SHOWN = """\
Package: mosquitto
Depends: adduser (>= 3.10), libcjson1 (>= 1.7.13), libllvm19 (>= 1:19.1.0), libssl3t64 (>= 3.0.0) | libssl3
Pre-Depends: init-system-helpers (>= 1.54~), zlib1g

Package: libc6
Depends: libgcc-s1:any
Suggests: libnothing
"""


def test_mirrors_are_the_machines_own_with_another_suite() -> None:
    assert mirrors(LISTED, "bookworm") == [
        ("http://mirror.example/debian", "trixie"),
        ("http://mirror.example/security", "trixie-security"),
    ]


def test_a_system_without_debian_sources_has_no_mirrors() -> None:
    assert mirrors(LISTED, "noble") == []
    assert mirrors("", "bookworm") == []


def test_only_libraries_are_followed() -> None:
    assert libraries(SHOWN) == {"libcjson1", "libssl3t64", "zlib1g", "libgcc-s1"}


def test_the_cache_is_where_the_environment_says(tmp_path: Path) -> None:
    assert cache_folder({"CARELOOP_CACHE": str(tmp_path), "XDG_CACHE_HOME": "/elsewhere"}) == tmp_path


def test_services_are_found_until_one_of_their_programs_is_gone(tmp_path: Path) -> None:
    names = ("postgres", "mosquitto", "mosquitto_pub", "mosquitto_sub", "mosquitto_passwd")
    programs = [tmp_path / name for name in names]
    for program in programs:
        program.touch(mode=0o755)
    assert find_provisioned(tmp_path) is None
    services = Provisioned(tmp_path, *programs[1:])
    services.save(tmp_path)
    assert find_provisioned(tmp_path) == services
    with_promtool = replace(services, promtool=tmp_path / "promtool")
    with_promtool.save(tmp_path)
    assert find_provisioned(tmp_path) == with_promtool
    programs[2].unlink()
    assert find_provisioned(tmp_path) is None


def test_an_unreadable_manifest_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "services.json").write_text("[1, 2]")
    assert find_provisioned(tmp_path) is None
