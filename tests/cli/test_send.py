"""`hm send`, `hm inbox`, and the proof that `hm verify` checks."""

from __future__ import annotations

import json

from .shell import Machine


def test_there_and_verified(home: Machine, lender: Machine) -> None:
    (home.directory / "data.bin").write_bytes(bytes(range(256)) * 4000)
    # Whether or not another test has let it in.
    lender.hm("inbox", "deny", "home")
    assert "takes no files" in home.fails("send", "data.bin", "lender", exit_code=4)
    lender.succeeds("inbox", "allow", "home", "--max", "100MiB")
    assert "100.0 MiB" in lender.succeeds("inbox", "senders").stdout.decode()
    done = home.succeeds("send", "data.bin", "lender", "--proof", "proof.json")
    assert done.stdout == b""
    # A bar is for terminals only.
    assert b"\r" not in done.stderr
    [view] = [
        each
        for each in home.json("transfer", "ls")["items"]
        if each["state"] == "done" and each["name"] == "data.bin"
    ]
    inbox = lender.json("inbox", "ls")["items"]
    [came] = [each for each in inbox if each["transfer"] == view["transfer"]]
    paths = lender.succeeds("inbox", "ls", "--quiet").stdout.decode().splitlines()
    assert paths == [each["path"] for each in inbox]
    verdict = home.json("verify", "proof.json", came["path"])
    assert verdict["ok"]
    lender.succeeds("inbox", "proof", came["transfer"][:8], "same.json")
    home.succeeds("transfer", "proof", view["transfer"][:8], "again.json")
    documents = [
        (machine.directory / name).read_bytes()
        for machine, name in ((home, "proof.json"), (lender, "same.json"), (home, "again.json"))
    ]
    assert len(set(documents)) == 1
    lender.succeeds("inbox", "deny", "home")
    assert "takes no files" in home.fails("send", "data.bin", "lender", exit_code=4)


def test_a_proof_of_another_file_or_altered_does_not_verify(home: Machine, lender: Machine) -> None:
    lender.succeeds("inbox", "allow", "home")
    (home.directory / "one.bin").write_bytes(b"one")
    home.succeeds("send", "one.bin", "lender", "--proof", "one.json")
    home.succeeds("verify", "one.json", "one.bin")
    (home.directory / "one.bin").write_bytes(b"two")
    done = home.hm("verify", "one.json", "one.bin")
    assert done.returncode == 9
    assert b"FAILED  file" in done.stdout
    document = json.loads((home.directory / "one.json").read_text())
    for name, value in document.items():
        if name in ("schema_version", "kind"):
            continue
        other = (
            value + 1 if isinstance(value, int) else ("1" if value[0] != "1" else "2") + value[1:]
        )
        (home.directory / "bad.json").write_text(json.dumps({**document, name: other}))
        assert home.hm("verify", "bad.json").returncode == 9, name
    home.fails("verify", "one.json", "--genesis", "nonsense", exit_code=2)
    assert home.hm("verify", "one.json", "--genesis", "00" * 32).returncode == 9


def test_detached_and_cancelled(home: Machine, lender: Machine) -> None:
    lender.succeeds("inbox", "allow", "home")
    for name in ("a.bin", "b.bin"):
        (home.directory / name).write_bytes(name.encode())
    ids = home.succeeds("send", "a.bin", "b.bin", "lender", "--detach").stdout.decode().split()
    assert len(ids) == 2
    for each in ids:
        said = home.succeeds("transfer", "cancel", each).stdout.decode()
        assert "done" in said or "cancelled" in said


def test_mistakes_are_named(home: Machine, lender: Machine) -> None:
    del lender
    assert "No such file" in home.fails("send", "nothing.bin", "lender", exit_code=1)
    (home.directory / "c.bin").write_bytes(b"c")
    assert "No node" in home.fails("send", "c.bin", "nobody", exit_code=5)
    assert "this node" in home.fails("send", "c.bin", "home", exit_code=2)
    home.fails("send", "c.bin", exit_code=2)
    assert "of one file" in home.fails(
        "send", "c.bin", "c.bin", "lender", "--proof", "x.json", exit_code=2
    )
