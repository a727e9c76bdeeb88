from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.crypto import keystore
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.keystore import (
    FILE_BYTES_MAX,
    SECRET_BYTES_MAX,
    KeyStore,
    KeyStoreUnavailable,
    PassphraseNeeded,
    PassphraseWrong,
    SecretDamaged,
    SecretExists,
    SecretExposed,
    SecretMissing,
    SecretUnprotected,
)
from hypermesh.wire.errors import InvalidInput

SECRET = b"a secret that is easy to search for"
PASSPHRASE = "correct horse"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "keys"


@pytest.fixture
def store(folder: Path) -> KeyStore:
    return KeyStore(folder)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keeps_a_secret_across_processes(folder, keys):
    KeyStore(folder).put("node", keys.secret_bytes())
    assert QuantumKeys.from_secret_bytes(KeyStore(folder).get("node")) == keys


def test_modes_do_not_depend_on_the_umask(folder):
    before = os.umask(0)
    try:
        KeyStore(folder).put("node", SECRET)
    finally:
        os.umask(before)
    assert mode(folder) == 0o700
    assert mode(folder / "node.key") == 0o600
    assert [file.name for file in folder.iterdir()] == ["node.key"]


def test_lists_what_it_holds(store, folder):
    assert store.names() == []
    assert "node" not in store
    store.put("owner", SECRET)
    store.put("node", SECRET)
    (folder / "notes.txt").touch()
    (folder / ".half.new").touch()
    assert store.names() == ["node", "owner"]
    assert "node" in store
    with pytest.raises(SecretMissing):
        store.get("other")
    with pytest.raises(SecretMissing):
        KeyStore(folder / "nowhere").get("node")


def test_never_overwrites(store):
    store.put("node", SECRET)
    with pytest.raises(SecretExists):
        store.put("node", b"another")
    assert store.get("node") == SECRET


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "UP", "a.key", "ü", "x" * 65])
def test_a_name_is_no_path(store, name):
    with pytest.raises(InvalidInput):
        store.put(name, SECRET)
    with pytest.raises(InvalidInput):
        store.get(name)


@pytest.mark.parametrize("size", [0, SECRET_BYTES_MAX + 1])
def test_a_secret_has_a_size(store, size):
    with pytest.raises(InvalidInput):
        store.put("node", bytes(size))
    store.put("largest", bytes(SECRET_BYTES_MAX))
    assert store.get("largest") == bytes(SECRET_BYTES_MAX)


def test_a_passphrase_protects_at_rest(folder):
    sealed = KeyStore(folder, PASSPHRASE)
    assert sealed.protected
    sealed.put("node", SECRET)
    assert SECRET not in (folder / "node.key").read_bytes()
    assert KeyStore(folder, PASSPHRASE).get("node") == SECRET
    assert KeyStore(folder).protected, "what lies on the disk decides, not how the store was opened"
    with pytest.raises(PassphraseWrong):
        KeyStore(folder, "correct horsf").get("node")
    with pytest.raises(PassphraseNeeded):
        KeyStore(folder).get("node")


def test_without_one_it_says_so(folder, store):
    assert not store.protected
    store.put("node", SECRET)
    assert not store.protected
    assert not KeyStore(folder, PASSPHRASE).protected
    with pytest.raises(SecretUnprotected):
        KeyStore(folder, PASSPHRASE).get("node")


def test_one_secret_in_the_clear_is_enough_to_be_unprotected(folder):
    KeyStore(folder, PASSPHRASE).put("node", SECRET)
    KeyStore(folder).put("owner", SECRET)
    assert not KeyStore(folder, PASSPHRASE).protected


def test_a_passphrase_is_a_text_not_its_bytes(folder):
    KeyStore(folder, "cafe\u0301").put("node", SECRET)
    assert KeyStore(folder, "caf\u00e9").get("node") == SECRET
    with pytest.raises(InvalidInput):
        KeyStore(folder, "")


def test_neither_passphrase_nor_secret_is_shown(folder):
    assert PASSPHRASE not in repr(KeyStore(folder, PASSPHRASE))


def test_equal_secrets_look_different(folder):
    store = KeyStore(folder, PASSPHRASE)
    store.put("one", SECRET)
    store.put("two", SECRET)
    one, two = ((folder / f"{name}.key").read_bytes() for name in ("one", "two"))
    assert one[50:] != two[50:]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A file with a sealed secret, and what it holds."""
    folder = tmp_path_factory.mktemp("whole")
    KeyStore(folder, PASSPHRASE).put("node", SECRET)
    file = folder / "node.key"
    return file, file.read_bytes()


@given(st.data())
def test_torn_and_altered_files_are_damaged_not_wrong(whole, data):
    file, content = whole
    at = data.draw(st.integers(0, len(content) - 1))
    altered = data.draw(
        st.sampled_from(
            [
                content[:at],
                content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :],
                content[:at] + bytes(len(content) - at),
                content + bytes(at + 1),
            ]
        )
    )
    if altered == content:
        return
    file.write_bytes(altered)
    with pytest.raises(SecretDamaged):
        KeyStore(file.parent, PASSPHRASE).get("node")


def test_a_file_under_another_name_is_damaged(folder):
    store = KeyStore(folder)
    store.put("node", SECRET)
    (folder / "node.key").rename(folder / "owner.key")
    with pytest.raises(SecretDamaged, match="node"):
        store.get("owner")


def test_an_endless_file_is_not_read_to_its_end(store, folder):
    store.put("node", SECRET)
    (folder / "node.key").write_bytes(bytes(FILE_BYTES_MAX + 1))
    with pytest.raises(SecretDamaged, match="longer"):
        store.get("node")


@pytest.mark.parametrize("open_mode", [0o640, 0o604, 0o660, 0o610])
def test_a_file_open_to_others_is_refused(store, folder, open_mode):
    store.put("node", SECRET)
    (folder / "node.key").chmod(open_mode)
    with pytest.raises(SecretExposed, match="chmod 600"):
        store.get("node")


def test_a_directory_open_to_others_is_refused(store, folder):
    store.put("node", SECRET)
    folder.chmod(0o755)
    with pytest.raises(SecretExposed, match="chmod 700"):
        store.get("node")
    with pytest.raises(SecretExposed, match="chmod 700"):
        store.put("owner", SECRET)
    assert store.names() == ["node"]


def test_a_link_is_not_followed(store, folder, tmp_path):
    store.put("node", SECRET)
    (folder / "node.key").rename(tmp_path / "elsewhere")
    (folder / "node.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SecretExposed, match="symbolic link"):
        store.get("node")


@pytest.mark.parametrize("instant", ["write", "fsync", "link"])
def test_a_failure_before_the_name_exists_leaves_nothing(store, folder, monkeypatch, instant):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    store.put("other", SECRET)
    with monkeypatch.context() as patched:
        if instant == "write":
            patched.setattr(keystore.os, "fdopen", fail)
        else:
            patched.setattr(keystore.os, instant, fail)
        with pytest.raises(KeyStoreUnavailable, match="No space left"):
            store.put("node", SECRET)
    assert [file.name for file in folder.iterdir()] == ["other.key"]
    store.put("node", SECRET)
    assert store.get("node") == SECRET


def test_bytes_are_synced_before_the_name_and_the_name_before_the_return(
    store, folder, monkeypatch
):
    seen: list[str] = []
    fsync, link = os.fsync, os.link

    def note_fsync(descriptor: int) -> None:
        directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        seen.append("directory" if directory else "file")
        fsync(descriptor)

    def note_link(source: str, target: Path) -> None:
        seen.append("link")
        link(source, target)

    store.put("first", SECRET)
    monkeypatch.setattr(keystore.os, "fsync", note_fsync)
    monkeypatch.setattr(keystore.os, "link", note_link)
    store.put("node", SECRET)
    assert seen == ["directory", "file", "link", "directory"], "its own directory's name first"


def test_a_path_that_is_a_file_is_unavailable(tmp_path):
    (tmp_path / "keys").touch(mode=0o600)
    store = KeyStore(tmp_path / "keys")
    with pytest.raises(KeyStoreUnavailable):
        store.put("node", SECRET)
    with pytest.raises(KeyStoreUnavailable):
        store.get("node")
    with pytest.raises(KeyStoreUnavailable):
        store.names()
