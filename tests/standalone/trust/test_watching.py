"""`hm cert watch` and `hm cert report` against the running server, and against logs that lie."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hypermesh.trustchain.ct.checkpoint import (
    Checkpoint,
    LogIdentity,
    TreeHeadVerifier,
    tree_head,
)
from hypermesh.trustchain.ct.errors import EntryInvalid
from hypermesh.trustchain.ct.note import Line, Note
from hypermesh.trustchain.ct.sct import DETERMINISTIC, signed_by
from hypermesh.trustchain.ct.tree import EMPTY_ROOT

from .conftest import WAIT_S, Server, checkpoint_of, eventually, requested


def hm(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hypermesh.cli.main", "cert", *words],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


@pytest.fixture
def logs(server: Server, tmp_path: Path) -> Path:
    file = tmp_path / "logs.json"
    with server.client(None) as client:
        file.write_bytes(client.get("/v1/logs").content)
    return file


def issue(server: Server, name: str) -> None:
    """A certificate for `name`, and a checkpoint that has it."""
    with server.client() as client:
        told = client.post("/v1/certificates", content=requested(name).der).json()
        checkpoint_of(client, told["log_index"] + 1)


def test_it_alerts_once_and_goes_on_where_it_was(
    server: Server, logs: Path, tmp_path: Path
) -> None:
    watched = "*.watched.example.internal"
    told = (server.http, "--log", str(logs), "--name", watched, "--state", str(tmp_path / "at"))
    expected = ("--expect", "www.watched.example.internal")
    issue(server, "www.watched.example.internal")
    first = hm("watch", *told, *expected, "--once")
    assert (first.returncode, first.stdout) == (0, ""), first.stderr
    issue(server, "odd.watched.example.internal")
    issue(server, "www.watched.example.internal")
    second = hm("watch", *told, *expected, "--once", "--output", "jsonl")
    assert second.returncode == 9, second.stderr
    alert = json.loads(second.stdout)
    assert alert["names"] == ["odd.watched.example.internal"]
    assert "HM-TRUST-0251" in second.stderr
    third = hm("watch", *told, *expected, "--once")
    assert (third.returncode, third.stdout) == (0, ""), "what was said is not said again"
    every = hm("watch", *told[:-1], str(tmp_path / "fresh"), "--once")
    assert every.stdout.count("watched.example.internal") == 3


def test_what_is_known_is_no_alert(server: Server, logs: Path, tmp_path: Path) -> None:
    """By the certificate as it was issued, whose precertificate is what the log has; by its number;
    by its name. Another one for the same name is an alert."""
    told = []
    with server.client() as client:
        for label in ("one", "one", "two", "three"):
            name = f"{label}.known.example.internal"
            answer = client.post("/v1/certificates", content=requested(name).der)
            told.append(answer.json())
        checkpoint_of(client, told[-1]["log_index"] + 1)
    file = tmp_path / "known"
    watched = (server.http, "--log", str(logs), "--name", "*.known.example.internal", "--once")

    def alerts(state: str) -> tuple[int, list[int]]:
        done = hm(
            *("watch", *watched, "--known", str(file), "--state", str(tmp_path / state)),
            *("--output", "jsonl"),
        )
        return done.returncode, [json.loads(each)["index"] for each in done.stdout.splitlines()]

    file.write_text(
        f"# ours\n{told[0]['chain'][0]}\nserial:{told[2]['serial']}\nThree.known.example.internal\n"
    )
    assert alerts("first") == (9, [told[1]["log_index"]])
    file.write_text(file.read_text() + told[1]["chain"][0])
    assert alerts("second") == (0, [])
    file.write_text("serial:none")
    assert alerts("third") == (2, [])


def test_it_follows_until_it_is_interrupted(server: Server, logs: Path, tmp_path: Path) -> None:
    state = tmp_path / "at"
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "hypermesh.cli.main", "cert", "watch", server.http),
            *("--log", str(logs), "--name", "*.followed.example.internal"),
            *("--state", str(state), "--every", "200ms"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watch:
        try:
            eventually(state.exists, "it read the log once")
            issue(server, "new.followed.example.internal")
            assert watch.stdout is not None
            assert "new.followed.example.internal" in watch.stdout.readline()
        finally:
            watch.terminate()
            watch.wait(WAIT_S)


@contextmanager
def served(answers: dict[str, bytes]) -> Iterator[str]:
    """An HTTP server that gives `answers` by path, as they are at each request."""

    class Given(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("content-length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *arguments: object) -> None:
            del arguments

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Given) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}"
        finally:
            listening.shutdown()
            thread.join(WAIT_S)


def test_an_altered_entry_and_a_forgotten_one_end_it(
    server: Server, logs: Path, tmp_path: Path
) -> None:
    issue(server, "x.example.internal")
    with server.client(None) as client:
        note = client.get("/checkpoint").content
        size = int(note.split(b"\n")[1])
        width = f".p/{size}" if size % 256 else ""
        assert size < 256, "one tile"
        tiles = {
            path: client.get(path).content
            for path in (f"/tile/0/000{width}", f"/tile/data/000{width}")
        }
    answers = {"/checkpoint": note, **tiles}
    data = f"/tile/data/000{width}"
    with served(answers) as url:
        words = ("--log", str(logs), "--name", "*", "--once", "--output", "jsonl")
        answers[data] = tiles[data].replace(b"x.example.internal", b"y.example.internal")
        assert answers[data] != tiles[data]
        altered = hm("watch", url, *words, "--state", str(tmp_path / "altered"))
        assert (altered.returncode, altered.stdout) == (9, ""), "nothing of it is believed"
        assert not (tmp_path / "altered").exists()
        answers[data] = tiles[data]
        whole = hm("watch", url, *words, "--state", str(tmp_path / "at"))
        assert whole.stdout.count("\n") == size, whole.stderr
        # Nobody but the log can say that it is shorter.
        answers["/checkpoint"] = note.replace(b"\n%d\n" % size, b"\n%d\n" % (size - 1))
        forged = hm("watch", url, *words, "--state", str(tmp_path / "at"))
        assert forged.returncode == 9
        del answers["/checkpoint"]
        gone = hm("watch", url, *words, "--state", str(tmp_path / "at"))
        assert gone.returncode == 5


def test_a_log_of_others_is_known_by_its_p256_key(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    other = ec.generate_private_key(ec.SECP256R1())
    answers: dict[str, bytes] = {}
    with served(answers) as url:
        origin = url.partition("://")[2]
        head = Checkpoint(origin, 0, EMPTY_ROOT)
        der = key.sign(tree_head(5, head), DETERMINISTIC)
        verifier = TreeHeadVerifier(origin, key.public_key())
        line = Line(origin, verifier.key_id, (5).to_bytes(8, "big") + signed_by(der))
        answers["/checkpoint"] = Note(head.text, (line,)).encoded()
        codes = []
        for each in (key, other):
            file = tmp_path / "key.pem"
            file.write_bytes(
                each.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            )
            words = ("--key", str(file), "--name", "*", "--once", "--state", str(tmp_path / "at"))
            codes.append(hm("watch", url, *words).returncode)
    assert codes == [0, 9]
    with pytest.raises(EntryInvalid):
        LogIdentity("a log", b"", b"")


def test_a_watch_without_keys_is_refused(tmp_path: Path) -> None:
    done = hm("watch", "http://[::1]:1", "--name", "*", "--once", "--state", str(tmp_path / "at"))
    assert done.returncode == 2
    assert "--log" in done.stderr


def test_the_report_as_facts_json_and_page(server: Server, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(f"{server.token_of('auditor')}\n")
    issue(server, "reported.example.internal")
    told = ("--server", server.https, "--token-file", str(token), "--root", str(server.root_file))
    page = tmp_path / "report.html"
    done = hm("report", *told, "--html", str(page), "--output", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["chain_whole"]
    assert report["issued"] >= 1
    assert "certifies no compliance" in page.read_text()
    facts = hm("report", *told, "--from", "2001-01-01", "--to", "2001-02-01")
    assert "issued        0" in facts.stdout, facts.stdout
    wrong = hm("report", *told, "--from", "2001-02-01", "--to", "2001-01-01")
    assert wrong.returncode == 2
    token.write_text("hmt_unknown")
    refused = hm("report", *told)
    assert (refused.returncode, "HM-TRUST-0204" in refused.stderr) == (4, True)
    plain = hm("report", "--server", server.http, *told[2:])
    assert plain.returncode == 2, "a token goes over TLS alone"
