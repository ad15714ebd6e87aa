"""Which names and sites the page is served to, and how often somebody may try."""

from __future__ import annotations

from typing import Any

import pytest

from app import rates
from app.access import Access, host_name, on_a_space
from app.connections import Connections
from app.rates import Allowance


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"port": 0}, "port 0"),
        ({"port": 70_000}, "1 to 65535"),
        ({"auth": "alone"}, "NAME:PASSWORD"),
        ({"auth": "a:"}, "NAME:PASSWORD"),
        ({"allow_host": ["https://a.org"]}, "no name of a host"),
        ({"allow_host": ["a.org:80"]}, "no name of a host"),
        ({"allow_origin": ["a.org"]}, "no origin"),
        ({"allow_origin": ["https://a.org/x"]}, "no origin"),
        ({"embed_in": ["'none'; script-src *"]}, "no origin"),
        ({"embed_in": ["https://a.org; script-src *"]}, "no origin"),
        ({"root_path": "demo"}, "root_path"),
        ({"root_path": "/a b"}, "root_path"),
        ({"root_path": "http://[::1"}, "root_path"),
        ({"root_path": "https://a.org:99999/demo"}, "root_path"),
        ({"host": ""}, "host is empty"),
        ({"proxy": ["nginx"]}, "no address of a proxy"),
        ({"proxy": ["10.0.0.1/8"]}, "no address of a proxy"),
        ({"proxy": ["::ffff:10.0.0.1"]}, "no address of a proxy"),
        ({"proxy": ["*", "10.0.0.1"]}, "give [*] alone"),
        ({"root_path": "https://*.a.org/demo"}, "root_path"),
    ],
)
def test_settings_that_cannot_be_understood_are_refused_in_one_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        Access(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "known", "unknown"),
    [
        ({}, "127.0.0.1:7860 localhost localhost:9 LOCALHOST [::1]:7860", "evil.org 10.0.0.1 localhost.evil.org"),
        ({"host": "10.1.2.3"}, "10.1.2.3:7860 localhost", "10.1.2.4 evil.org"),
        ({"allow_host": ["a.org", "*.b.org"]}, "a.org:80 A.ORG x.b.org", "b.org x.a.org a.org.evil.org"),
        ({"host": "0.0.0.0"}, "any.org 10.1.2.3", "a@b /x"),
        ({"host": "0.0.0.0", "allow_host": ["a.org"]}, "a.org 10.1.2.3 [fe80::1]:80 localhost", "any.org"),
        ({"root_path": "https://a.org/demo"}, "a.org localhost", "b.org"),
    ],
)
def test_a_server_goes_by_its_own_names_only(settings: dict[str, Any], known: str, unknown: str) -> None:
    access = Access(**settings)
    assert [host for host in known.split() if not access.knows_host(host)] == []
    assert [host for host in [*unknown.split(), "", "a b", "x:y:z", "[", "a#b"] if access.knows_host(host)] == []


def test_scripts_of_the_pages_own_origin_may_ask_and_others_only_if_they_are_named() -> None:
    access = Access(allow_host=["a.org"], allow_origin=["https://b.org"])
    for origin in ("http://localhost:7860", "https://a.org", "https://b.org"):
        assert access.knows_origin(origin, "localhost:7860")
    for origin in (
        "null",
        "",
        "http://localhost:7861",
        "http://b.org",
        "https://c.b.org",
        "https://a.org.evil.org",
        "file://",
        "http://[::1",
    ):
        assert not access.knows_origin(origin, "localhost:7860")


def test_a_space_is_served_under_its_name_and_shown_in_its_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_a_space(Access()) == Access()
    monkeypatch.setenv("SPACE_ID", "me/demo")
    monkeypatch.setenv("SPACE_HOST", "me-demo.hf.space")
    access = on_a_space(Access(host="0.0.0.0"))
    assert access.knows_host("me-demo.hf.space")
    assert not access.knows_host("other.hf.space")
    assert "https://huggingface.co" in access.embed_in
    assert access.proxy == ("*",)


@pytest.mark.parametrize(
    ("header", "name"), [("A.org:80", "a.org"), ("[::1]:7", "::1"), ("a.org/x", None), ("a:b", None)]
)
def test_the_name_in_a_host_header_is_found_without_its_port(header: str, name: str | None) -> None:
    assert host_name(header) == name


# ---------------------------------------------------------------- how often, and how many


def test_an_allowance_is_used_up_and_comes_back_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    allowance = Allowance(3, per_second=0.5)
    assert [allowance.take("a") for _ in range(4)] == [0, 0, 0, 2]
    assert allowance.take("b", 3) == 0
    now += 2
    assert allowance.take("a") == 0
    assert allowance.take("a") > 0
    allowance.give_back("a")
    assert allowance.take("a") == 0
    now += 1000
    assert [allowance.take("a") for _ in range(4)] == [0, 0, 0, 2]  # it holds no more than at first


def test_no_number_of_visitors_makes_an_allowance_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_VISITORS", 10)
    allowance = Allowance(1, per_second=0.001)
    for visitor in range(100):
        assert allowance.take(str(visitor)) == 0
    assert len(allowance._buckets) == 10
    assert allowance.take("99") > 0


def test_connections_are_bounded_by_address_and_in_all() -> None:
    connections = Connections(5, 2, frozenset({"proxy"}))
    assert [connections.admit("a") for _ in range(3)] == [True, True, False]
    assert [connections.admit("proxy") for _ in range(4)] == [True, True, True, False]
    connections.leave("a")
    assert connections.admit("b")
    assert not connections.admit("c")


def test_a_network_of_proxies_is_not_bounded_as_a_visitor_is() -> None:
    connections = Connections(9, 1, frozenset(Access(proxy=["10.0.0.0/8", "::1"]).proxy))
    assert [connections.admit("10.1.2.3") for _ in range(3)] == [True, True, True]
    assert [connections.admit("::1") for _ in range(2)] == [True, True]
    assert [connections.admit("11.1.2.3") for _ in range(2)] == [True, False]
    assert connections.admit("")
