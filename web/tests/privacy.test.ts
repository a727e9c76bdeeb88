import { describe, expect, test } from "vitest";
import type { Schemas } from "../src/api/types.ts";
import { changeOf, draftOf, hourly } from "../src/privacy.ts";

const TERMS: Schemas["PrivacyView"] = {
  asset: "ab".repeat(16),
  kind: "memory",
  host: "cd".repeat(32),
  host_name: "bob",
  level: "p2p",
  nodes: ["ef".repeat(32)],
  networks: [],
  share_basis_points: 5000,
  concurrent_max: 16,
  duration_ms_min: 1,
  duration_ms_max: 86_400_000,
  price: { amount: 3, per_units: 1 << 20, per_ms: 1000 },
  region: "",
  identity: "anonymous",
  attested: false,
  bond_min: 0,
  revision: 1,
};

describe("a change of terms", () => {
  test("is empty where nothing was touched, however odd the terms are", () => {
    expect(changeOf(draftOf(TERMS), TERMS)).toEqual({ change: {}, wrong: {} });
  });

  test("has exactly what was touched", () => {
    const draft = { ...draftOf(TERMS), level: "full_public" as const, share: "12.5", longest: "60", price: "0.5", verified: true };
    expect(changeOf(draft, TERMS)).toEqual({
      change: {
        level: "full_public",
        share_basis_points: 1250,
        duration_ms_max: 3_600_000,
        price: { amount: 500_000_000, per_units: 2 ** 30, per_ms: 3_600_000 },
        identity: "verified",
      },
      wrong: {},
    });
  });

  test("names each field that is not right", () => {
    const draft = { ...draftOf(TERMS), networks: "zz", share: "101", concurrent: "", price: "x", bond: "-1" };
    const { change, wrong } = changeOf(draft, TERMS);
    expect(change).toEqual({});
    expect(Object.keys(wrong).sort()).toEqual(["bond", "concurrent", "networks", "price", "share"]);
  });
});

test("a price is said for a GiB and an hour", () => {
  expect(hourly(TERMS.price, "memory")).toBe(3n * 1024n * 3600n);
  expect(hourly({ amount: 1_000_000_000, per_units: 1000, per_ms: 3_600_000 }, "cpu")).toBe(1_000_000_000n);
});
