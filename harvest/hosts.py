"""The services' limits, host by host (from each service's own documentation and what its users met)."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import urljoin, urlsplit

from harvest.errors import SettingError


@dataclass(frozen=True)
class Rule:
    """How one host is to be treated; all times in seconds."""

    spacing: float
    """between an answer and the next request"""
    backoff: float = 2.0
    """first pause after a transient failure; doubles, with jitter"""
    cool_down: float = 0.0
    """least pause after a 429"""
    timeout: float = 30.0
    """without a byte"""
    tries: int = 5


# medRxiv and bioRxiv: robots.txt says Crawl-delay: 7, and 429 came at a few requests per second (cool down a minute).
SITE_FLOOR = 7.0
_SITE = Rule(spacing=10.0, cool_down=60.0, tries=4)
_LIVE: dict[str, Rule] = {
    "api.biorxiv.org": Rule(spacing=1.0),
    "medrxiv.org": _SITE,
    "biorxiv.org": _SITE,
    # 3 requests a second without a key, 10 with one
    "ncbi.nlm.nih.gov": Rule(spacing=0.34, backoff=1.5),
    "pmc-oa-opendata.s3.amazonaws.com": Rule(spacing=0.1),
    "europepmc.org": Rule(spacing=0.5),
    "ebi.ac.uk": Rule(spacing=0.5),
    # answers take 2 to 9 seconds
    "openi.nlm.nih.gov": Rule(spacing=1.0, timeout=60.0, tries=3),
    "medpix.nlm.nih.gov": Rule(spacing=1.5, timeout=60.0, tries=3),
}
NCBI_WITH_KEY = 0.11
_NAME = re.compile(r"[a-z0-9_.-]+")
_OWN_NAMES = (".localhost", ".local", ".localdomain", ".internal", ".intranet", ".lan", ".home", ".home.arpa")
_ADDRESS = re.compile(r"[^@\s,;<>\"']+@[^@\s,;<>\"']+\.[A-Za-z]{2,}")
_PLACEHOLDER = re.compile(r"@(.*\.)?(example\.(com|org|net)|.*\.(invalid|test|example))$", re.IGNORECASE)


def host_of(url: str) -> str:
    """Host name of a URL, lower case; '' if there is none."""
    return (urlsplit(url).hostname or "").lower()


def joined(base: str, address: str) -> str:
    """``address`` as seen from ``base``; as it is where it cannot be read as one, which ``same_site`` then refuses."""
    try:
        return urljoin(base, address)
    except ValueError:
        return address


def is_loopback(url: str) -> bool:
    """True for a server on this very machine: the stand-in."""
    return _is_here(host_of(url))


@lru_cache(maxsize=256)
def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_public(url: str) -> bool:
    """True for an address of the open web; False for this machine, its network, and what is no http(s) address.

    Judged by what the address says: names are not looked up, as many networks answer for public names themselves.
    """
    if not _is_address(url):
        return False
    host = host_of(url).rstrip(".")
    try:
        # IPv4 also comes as 127.1, 0x7f000001 or 2130706433, which connecting understands.
        number = ipaddress.ip_address(socket.inet_aton(host))
    except OSError:
        try:
            found = ipaddress.ip_address(host)
        except ValueError:
            # Letters beyond ASCII are turned into others on the way: wide digits become an address after all.
            return "." in host and not host.endswith(_OWN_NAMES) and bool(_NAME.fullmatch(host))
        number = getattr(found, "ipv4_mapped", None) or found
    return number.is_global and not number.is_multicast


def service_of(url: str) -> str:
    """What is stopped when it refuses us: the host; of a stand-in, which is several services, the one asked."""
    parts = urlsplit(url)
    return f"{parts.netloc}/{parts.path.lstrip('/').split('/')[0]}" if is_loopback(url) else host_of(url)


def rule_for(url: str, spacing: float, api_key: str = "") -> Rule:
    """The rule of the URL's host; hosts that are none of the services' take ``spacing`` as it is, 0 included."""
    return _rule(host_of(url), spacing, bool(api_key))


@lru_cache(maxsize=256)
def _rule(host: str, spacing: float, with_key: bool) -> Rule:
    for name, rule in _LIVE.items():
        if host == name or host.endswith("." + name):
            if rule is _SITE:
                return replace(rule, spacing=max(spacing, SITE_FLOOR))
            if name == "ncbi.nlm.nih.gov" and with_key:
                return replace(rule, spacing=NCBI_WITH_KEY)
            return rule
    return Rule(spacing=max(spacing, 0.0), backoff=0.05 if _is_here(host) else 1.0)


def same_site(url: str, other: str) -> bool:
    """True if a redirect from ``url`` to ``other`` stays with the same site and does not leave https.

    What cannot be read as an address (``http://[x/``, port 99999) is of no site.
    """
    try:
        return _same_site(url, other)
    except ValueError:
        return False


def _same_site(url: str, other: str) -> bool:
    a, b = urlsplit(url), urlsplit(other)
    _ = b.port  # raises for a port that cannot be one
    if b.scheme not in ("http", "https") or (a.scheme == "https" and b.scheme != "https"):
        return False
    if is_loopback(url) or is_loopback(other):
        return (a.hostname, a.port) == (b.hostname, b.port)
    here, there = (host_of(u).removeprefix("www.") for u in (url, other))
    return here == there or here.endswith("." + there) or there.endswith("." + here)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # http://[x/, port 99999
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def check_services(contact: str, urls: dict[str, str]) -> None:
    """Refuse addresses that are none, and a live run without a contact address (the services ask for one).

    ``urls``: option name -> base URL; empty ones are services not used. Raises SettingError.
    """
    for option, url in urls.items():
        if not url:
            continue
        if not _is_address(url):
            raise SettingError(f"--{option}: expected an address such as https://api.biorxiv.org, got {url!r}")
    live = [url for url in urls.values() if url and not is_loopback(url)]
    if live and (not _ADDRESS.fullmatch(contact) or _PLACEHOLDER.search(contact)):
        raise SettingError(
            f"--contact: expected the e-mail address of who runs this harvest, got {contact!r}; {host_of(live[0])} and "
            f"the other services ask for one in the User-Agent. Put it into params.yaml (contact, in preprints, pmc "
            "and medpix) or pass --contact"
        )
