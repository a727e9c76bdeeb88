"""A bundle as one HTML file that checks itself in a browser, with WebCrypto and no network.

The page checks the inclusion proof, the SCT and the checkpoint's P-256 and Ed25519 lines, that the
leaf is this certificate's where the leaf holds it whole, and the fingerprint of the root. It cannot
check FALCON-1024 nor the chain's signatures, and says so: `hm cert verify` does. A page that
somebody else made could claim anything; whoever must be sure checks with a program of their own.
"""

from __future__ import annotations

import html

from hypermesh.trustchain.bundle import Bundle


def page(bundle: Bundle) -> str:
    """The file. Its content policy lets it load and send nothing."""
    # In a script element nothing ends it but its end tag, which base64 and JSON here never hold.
    data = bundle.encoded().decode().replace("<", "\\u003c")
    return _PAGE.replace("@DATA@", data).replace("@TITLE@", html.escape(bundle.log.origin))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<title>A certificate in @TITLE@</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}
li.ok::marker{content:"\\2713  "}li.bad::marker{content:"\\2717  "}li.open::marker{content:"?  "}
.bad{color:#a00}code{overflow-wrap:anywhere}</style></head><body>
<h1 id="verdict">Checking</h1><ul id="checks"></ul><dl id="facts"></dl>
<p>This page checks itself without a network. Whoever made it chose what it checks: compare the
fingerprints below with those you know, or run <code>hm cert verify</code> on its bundle.</p>
<script type="application/json" id="bundle">@DATA@</script>
<script>
"use strict";
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const digits = (byte) => byte.toString(16).padStart(2, "0");
const hex = (data) => [...new Uint8Array(data)].map(digits).join("");
const same = (a, b) => hex(a) === hex(b);
const join = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));
const utf8 = (text) => new TextEncoder().encode(text);
const sha256 = async (data) => new Uint8Array(await crypto.subtle.digest("SHA-256", data));
const number = (data) => data.reduce((sum, byte) => sum * 256 + byte, 0);

/* RFC 9162 section 2.1.3.2. Sizes stay below 2^40, so halves are by division. */
async function rootOf(index, size, leaf, path) {
  let at = index, last = size - 1, found = leaf;
  for (const step of path) {
    if (last === 0) return null;
    if (at % 2 === 1 || at === last) {
      found = await sha256(join([1], step, found));
      while (at % 2 === 0 && at !== 0) { at = Math.floor(at / 2); last = Math.floor(last / 2); }
    } else found = await sha256(join([1], found, step));
    at = Math.floor(at / 2); last = Math.floor(last / 2);
  }
  return last === 0 ? found : null;
}

/* An ECDSA signature in DER as WebCrypto has it: two integers of 32 bytes. */
function plain(der) {
  const part = (at) => {
    const end = at + 2 + der[at + 1];
    const digits = der.slice(at + 2, end).filter((_, i, all) => i >= all.length - 32);
    return [join(new Uint8Array(32 - digits.length), digits), end];
  };
  if (der[0] !== 0x30 || der[1] !== der.length - 2) throw new Error("no signature in DER");
  const [r, next] = part(2);
  const [s] = part(next);
  return join(r, s);
}

async function p256(key, der, data) {
  const kind = { name: "ECDSA", namedCurve: "P-256" };
  const held = await crypto.subtle.importKey("spki", key, kind, false, ["verify"]);
  return crypto.subtle.verify({ name: "ECDSA", hash: "SHA-256" }, held, plain(der), data);
}

async function ed25519(key, signature, data) {
  const held = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
  return crypto.subtle.verify({ name: "Ed25519" }, held, signature, data);
}

async function check(bundle) {
  const found = [];
  const add = async (text, test) => {
    let ok = false;
    try { ok = (await test()) === true; } catch (error) { text += ": " + error.message; }
    found.push([text, ok]);
  };
  const note = bundle.checkpoint, cut = note.lastIndexOf("\\n\\n");
  const text = utf8(note.slice(0, cut + 1));
  const [origin, size, root] = note.split("\\n");
  const lines = note.slice(cut + 2).split("\\n").filter((line) => line).map((line) => {
    const [, name, data] = line.split(" ");
    return { name, id: hex(bytes(data).slice(0, 4)), signature: bytes(data).slice(4) };
  });
  const line = async (kind, key) => {
    const id = hex((await sha256(join(utf8(bundle.log.origin + "\\n"), kind, key))).slice(0, 4));
    const line = lines.find((each) => each.name === bundle.log.origin && each.id === id);
    if (!line) throw new Error("the line is missing");
    return line.signature;
  };
  const leaf = bytes(bundle.leaf);
  const p256Key = bytes(bundle.log.p256), edKey = bytes(bundle.log.ed25519);
  const sct = bytes(bundle.sct);
  await add("the entry is in the log", async () => origin === bundle.log.origin && same(
    (await rootOf(bundle.index, Number(size), await sha256(join([0], leaf)),
      bundle.path.map(bytes))) || [], bytes(root)));
  await add("the checkpoint is signed, P-256", async () => {
    const signature = await line([5], await sha256(p256Key));
    const head = join([0, 1], signature.slice(0, 8), (() => {
      const wide = new Uint8Array(8);
      new DataView(wide.buffer).setBigUint64(0, BigInt(size));
      return wide;
    })(), bytes(root));
    return p256(p256Key, signature.slice(12), head);
  });
  await add("the checkpoint is signed, Ed25519", async () =>
    ed25519(edKey, await line([1], edKey), text));
  await add("the timestamp (SCT) is the log's, for this entry", async () => {
    const after = 43 + number(sct.slice(41, 43));
    return same(sct.slice(1, 33), await sha256(p256Key)) &&
      number(sct.slice(33, 41)) === number(leaf.slice(2, 10)) &&
      p256(p256Key, sct.slice(after + 4), leaf);
  });
  await add("the entry is of this certificate", async () => {
    const certificate = bytes(bundle.certificate);
    if (number(leaf.slice(10, 12)) === 0)
      return same(leaf.slice(15, 15 + number(leaf.slice(12, 15))), certificate);
    /* A precertificate's entry lacks the SCT alone: the rest of its body, in order. */
    const body = leaf.slice(47, 47 + number(leaf.slice(44, 47)));
    return covers(certificate, body, sct);
  });
  return { found, leaf, size, origin };
}

/* The elements of a DER sequence's content. */
function elements(data) {
  const all = [];
  for (let at = 0; at < data.length;) {
    let head = 2, length = data[at + 1];
    if (length >= 128) {
      head = 2 + (length & 127);
      length = number(data.slice(at + 2, at + head));
    }
    const end = at + head + length;
    all.push({ all: data.slice(at, end), inner: data.slice(at + head, end) });
    at = end;
  }
  return all;
}

function covers(certificate, body, sct) {
  const mine = elements(elements(elements(certificate)[0].inner)[0].inner);
  const logged = elements(elements(body)[0].inner);
  const extensions = (parts) => elements(elements(parts[parts.length - 1].inner)[0].inner);
  const name = "060a2b06010401d679020402";
  const held = extensions(mine).filter((each) => hex(each.inner).startsWith(name));
  const rest = extensions(mine).filter((each) => !hex(each.inner).startsWith(name));
  const texts = (parts) => parts.map((each) => hex(each.all)).join();
  const fields = (parts) => texts(parts.slice(0, -1));
  return held.length === 1 && hex(held[0].inner).endsWith(hex(sct)) &&
    fields(mine) === fields(logged) &&
    texts(rest) === texts(extensions(logged));
}

(async () => {
  const bundle = JSON.parse(document.getElementById("bundle").textContent);
  let result;
  try {
    result = await check(bundle);
  } catch (error) {
    result = { found: [[error.message, false]] };
  }
  const holds = result.found.every(([, ok]) => ok);
  const verdict = document.getElementById("verdict");
  verdict.textContent = holds ? "What this page can check holds" : "This does not hold";
  verdict.className = holds ? "ok" : "bad";
  const item = (text, kind) => {
    const made = document.createElement("li");
    made.textContent = text;
    made.className = kind;
    document.getElementById("checks").append(made);
  };
  result.found.forEach(([text, ok]) => item(text, ok ? "ok" : "bad"));
  item("not checked here: FALCON-1024 lines, and the signatures of the chain", "open");
  const fact = (name, value) => {
    const term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = name;
    text.append(Object.assign(document.createElement("code"), { textContent: value }));
    document.getElementById("facts").append(term, text);
  };
  fact("certificate, SHA-256", hex(await sha256(bytes(bundle.certificate))));
  fact("root, SHA-256", hex(await sha256(bytes(bundle.chain[bundle.chain.length - 1]))));
  fact("log", bundle.log.origin);
  if (result.leaf) {
    fact("entry", bundle.index + " of " + result.size);
    fact("logged", new Date(number(result.leaf.slice(2, 10))).toISOString());
  }
  document.body.dataset.done = holds ? "holds" : "refused";
})();
</script></body></html>
"""
