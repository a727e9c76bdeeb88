"""Which layer of the configuration wins, and how a mistake in one is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.node import layers
from hypermesh.node.configuration import SETTINGS_FILE, Configuration, Settings
from hypermesh.node.layers import KEYS, ConfigurationInvalid, Layer, Setting, merge, of_text
from hypermesh.wire.asset import PrivacyLevel

FILE = Path("/some/hypermesh.toml")

SAMPLES: dict[str, tuple[object, object]] = {
    "data": ("/srv/hm", "/srv/hm"),
    "name": ("desk", "desk"),
    "share": ("12.5%", "12.5%"),
    "level": ("p2p", "p2p"),
    "stoq.host": ("::1", "::1"),
    "stoq.stack": ("dual", "dual"),
    "stoq.port": (4433, 4433),
    "stoq.threads": (4, 4),
    "tls.port": (0, 0),
    "parcels.carry": ("network", "network"),
    "dns.listen": ("[::1]:5399", "[::1]:5399"),
    "dns.tls": ("192.0.2.1:853", "192.0.2.1:853"),
    "dns.quic": ("off", "off"),
    "dns.upstream": ("[::1]:53, 192.0.2.1", "[::1]:53, 192.0.2.1"),
    "log.level": ("debug", "debug"),
    "output": ("jsonl", "jsonl"),
}
"""What a file may say of each key, and what it then is."""

WRONG: dict[str, list[object]] = {
    "data": ["", 5, True],
    "name": ["", "a b", "-x", 5, "x" * 64],
    "share": ["half", "0%", "101%", 50, "33.333%"],
    "level": ["public", 1, ""],
    "stoq.host": ["", "a b", 6],
    "stoq.stack": ["ipv4", 6, ""],
    "stoq.port": [-1, 65536, "x", True, 1.5],
    "stoq.threads": [-1, 65, "x", True],
    "tls.port": [-1, 65536, False],
    "parcels.carry": ["everybody", True, ""],
    "dns.listen": ["", "::1", "here:5353", "[::1]:65536", 5353],
    "dns.tls": ["", "::1", "here:853", 853],
    "dns.quic": ["", "192.0.2.1:853", 853],
    "dns.upstream": ["dns.example", ",".join(["[::1]:53"] * 4), 53],
    "log.level": ["verbose", 3],
    "output": ["yaml", []],
}


def toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def document(key: str, value: object) -> str:
    return f"# first line\n\n{key} = {toml(value)}\n"


def test_every_key_has_samples() -> None:
    assert set(SAMPLES) == set(WRONG) == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_a_file_and_the_environment_say_the_same(key: str) -> None:
    said, meant = SAMPLES[key]
    found = of_text(document(key, said), Layer.USER, FILE)
    assert found == {key: Setting(meant, Layer.USER, f"{FILE}:3")}  # type: ignore[arg-type]
    variable = KEYS[key].variable
    found = layers.of_environment({variable: str(said), "HYPERMESH_PASSPHRASE": "x"})
    assert found == {key: Setting(meant, Layer.ENVIRONMENT, variable)}  # type: ignore[arg-type]


@pytest.mark.parametrize(("key", "value"), [(key, each) for key in WRONG for each in WRONG[key]])
def test_a_wrong_value_is_told_with_file_line_and_what_was_expected(
    key: str, value: object
) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        of_text(document(key, value), Layer.USER, FILE)
    assert caught.value.what.startswith(f"{FILE}:3: {key} is ")
    assert "expected " in caught.value.what
    assert caught.value.exit_code == 3


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(ConfigurationInvalid, match="HYPERMESH_STOQ_PORT is 'x'"):
        layers.of_environment({"HYPERMESH_STOQ_PORT": "x"})
    assert layers.of_environment({"HYPERMESH_STOQ_PORT": ""}) == {}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("nmae = 'x'", 1, "unknown key 'nmae'; did you mean 'name'?"),
        ("\n[stoq]\nprot = 1", 3, "unknown key 'stoq.prot'; did you mean 'stoq.port'?"),
        ("\n[zzz]\nqqq = 1", 3, "unknown key 'zzz.qqq'; known are data, name"),
        ("[zzz]", 1, "unknown key 'zzz'"),
        ("stoq = { prot = 1 }", 1, "unknown key 'stoq.prot'; did you mean 'stoq.port'?"),
        ("name = 'x'\nstoq = 5", 2, "unknown key 'stoq'"),
        ("name = { first = 'x' }", 1, "name is "),
        ("[[stoq]]\nport = 1", 1, "unknown key 'stoq'"),
    ],
)
def test_unknown_keys_are_errors(text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        of_text(text, Layer.USER, FILE)
    assert caught.value.what.startswith(f"{FILE}:{line}: {said}")


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        of_text("nmae = 1\noutput = 'yaml'\n[stoq]\nport = 'x'", Layer.USER, FILE)
    assert f"{FILE}:1: " in caught.value.what
    assert f"{FILE}:2: " in caught.value.why
    assert f"{FILE}:4: " in caught.value.why


def test_what_is_no_toml_is_told_with_its_line() -> None:
    with pytest.raises(ConfigurationInvalid, match="not TOML") as caught:
        of_text("name = 'x'\nname !\n", Layer.USER, FILE)
    assert "line 2" in caught.value.why


def test_empty_tables_and_files_say_nothing() -> None:
    assert of_text("", Layer.USER, FILE) == {}
    assert of_text("[stoq]\n", Layer.USER, FILE) == {}


@pytest.mark.parametrize(
    "key",
    [
        *("data", "level", "stoq.host", "stoq.stack", "tls.port", "parcels.carry"),
        *("dns.listen", "dns.tls", "dns.quic", "dns.upstream"),
    ],
)
def test_a_project_cannot_say_where_the_keys_lie_nor_who_gets_in(key: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="a project file may not set"):
        of_text(document(key, SAMPLES[key][0]), Layer.PROJECT, FILE)


@pytest.mark.parametrize("key", [key for key in KEYS if KEYS[key].project])
def test_a_project_may_say_the_rest(key: str) -> None:
    assert key in of_text(document(key, SAMPLES[key][0]), Layer.PROJECT, FILE)


settled = st.lists(
    st.dictionaries(
        st.sampled_from(sorted(KEYS)),
        st.tuples(st.integers(0, 9), st.sampled_from(list(Layer))),
        max_size=5,
    ).map(lambda found: {key: Setting(value, layer) for key, (value, layer) in found.items()}),
    max_size=7,
)


@given(settled)
def test_the_highest_layer_wins(given_layers: list[dict[str, Setting]]) -> None:
    merged = merge(given_layers)
    order = list(Layer)
    for key in KEYS:
        candidates = [layer[key] for layer in given_layers if key in layer]
        assert (key in merged) == bool(candidates)
        if candidates:
            best = min(order.index(each.layer) for each in candidates)
            first = next(each for each in candidates if order.index(each.layer) == best)
            assert merged[key] == first


@given(settled, st.randoms(use_true_random=False))
def test_the_order_in_which_layers_are_read_is_no_matter(
    given_layers: list[dict[str, Setting]], shuffling: object
) -> None:
    distinct = {
        layer: {key: each for key, each in found.items() if each.layer is layer}
        for found in given_layers
        for layer in Layer
    }
    parts = list(distinct.values())
    again = list(parts)
    shuffling.shuffle(again)  # type: ignore[attr-defined]
    assert merge(parts) == merge(again)


def test_precedence_is_as_documented() -> None:
    assert [layer.value for layer in Layer] == [
        "flag", "environment", "project", "user", "system", "kept", "default"
    ]  # fmt: skip


def test_where_files_may_be(tmp_path: Path) -> None:
    (tmp_path / "hypermesh.toml").write_text("")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    found = layers.files(below, {"XDG_CONFIG_HOME": "/x/config"})
    assert found == [
        (Layer.PROJECT, tmp_path / "hypermesh.toml"),
        (Layer.USER, Path("/x/config/hypermesh/config.toml")),
        (Layer.SYSTEM, Path("/etc/hypermesh/config.toml")),
    ]
    (below / "hypermesh.toml").write_text("")
    assert layers.files(below, {"HOME": "/h"})[:2] == [
        (Layer.PROJECT, below / "hypermesh.toml"),
        (Layer.USER, Path("/h/.config/hypermesh/config.toml")),
    ]
    relative = layers.files(None, {"HOME": "/h", "XDG_CONFIG_HOME": "relative"})
    assert relative[0] == (Layer.USER, Path("/h/.config/hypermesh/config.toml"))


def status(mode: int, user: int, group: int) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, user, group, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "user", "group", "why"),
    [
        (0o100644, 1000, 1000, None),
        (0o100664, 1000, 1000, None),
        (0o100644, 0, 0, None),
        (0o100664, 1000, 50, "others may write it"),
        (0o100646, 1000, 1000, "others may write it"),
        (0o100644, 1001, 1001, "it belongs to user 1001"),
        (0o040755, 1000, 1000, "it is no file"),
        (0o010644, 1000, 1000, "it is no file"),
    ],
)
def test_whose_word_counts(mode: int, user: int, group: int, why: str | None) -> None:
    said = layers.distrusted(status(mode, user, group), 1000, 1000)
    assert (said is None) == (why is None)
    assert why is None or why in str(said)


def test_a_file_that_others_may_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "hypermesh.toml"
    file.write_text("name = 'desk'\n")
    assert layers.configured()["name"].where == f"{file}:1"
    file.chmod(0o666)
    with pytest.raises(ConfigurationInvalid, match="not trusted"):
        layers.configured()


@pytest.mark.parametrize("content", [b"\xff", b"#" * (layers.FILE_BYTES_MAX + 1)])
def test_what_is_no_text_or_too_long_is_refused(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hypermesh.toml").write_bytes(content)
    with pytest.raises(ConfigurationInvalid):
        layers.configured()


def test_what_a_node_has_declared_stands(tmp_path: Path) -> None:
    settled = of_text("share = '10%'\nlevel = 'p2p'\nname = 'new'\n", Layer.USER, FILE)
    assert layers.complete(settled, tmp_path)["share"].value == "10%"
    kept = Settings("old", 5000, PrivacyLevel.PRIVATE, "::", 7)
    Configuration(tmp_path, kept).keep(4444)
    found = layers.complete(settled, tmp_path)
    assert found["share"] == Setting("50%", Layer.KEPT, str(tmp_path / SETTINGS_FILE))
    assert found["level"].layer is Layer.KEPT
    assert found["stoq.port"] == Setting(4444, Layer.KEPT, str(tmp_path / SETTINGS_FILE))
    assert found["name"].value == "new"
    assert found["output"] == Setting("table", Layer.DEFAULT)
    flag = {"share": Setting("10%", Layer.FLAG, "--share")}
    assert layers.for_node(merge([settled, flag]), tmp_path)["share"].layer is Layer.FLAG
