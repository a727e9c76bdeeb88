import { expect, test } from "vitest";
import document from "../../openapi/hypermesh.json";
import { shellQuoted, snippets, type Subject } from "../src/snippets.ts";

const ID = "ab".repeat(32);
const SUBJECTS: Subject[] = [
  { noun: "network" },
  { noun: "nodes" },
  { noun: "node", id: ID },
  { noun: "assets" },
  { noun: "assets", kind: "memory" },
  { noun: "asset", id: ID },
  { noun: "leases" },
  { noun: "lease", id: ID },
  { noun: "jobs" },
  { noun: "job", id: ID },
  { noun: "transfers" },
  { noun: "inbox" },
  { noun: "blocks" },
  { noun: "block", height: 7 },
  { noun: "transaction", id: ID },
  { noun: "account" },
  { noun: "certificates" },
  { noun: "attempts" },
];

test("curl asks paths that the API has", () => {
  const paths = Object.keys(document.paths).map((path) => new RegExp(`^${path.replace(/\{[^}]+\}/g, "[^/]+")}$`));
  for (const subject of SUBJECTS) {
    const asked = /http:\/\/localhost:5173([^?'\s]*)/.exec(snippets(subject, "http://localhost:5173").curl);
    expect(paths.some((path) => path.test(asked?.[1] ?? "")), JSON.stringify(subject)).toBe(true);
  }
});

test("what the node keeps private is asked with the token", () => {
  expect(snippets({ noun: "job", id: ID }, "http://x").curl).toContain("Authorization: Bearer");
  expect(snippets({ noun: "node", id: ID }, "http://x").curl).not.toContain("Authorization");
});

test("words of a shell", () => {
  expect(shellQuoted("http://localhost:5173/assets")).toBe("http://localhost:5173/assets");
  expect(shellQuoted("a?b=c&d")).toBe("'a?b=c&d'");
  expect(shellQuoted("it's")).toBe(`'it'\\''s'`);
});
