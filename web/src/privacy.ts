/** The terms of an asset as fields that a person fills in, and back. Pure. */
import type { Schemas } from "./api/types.ts";
import { caes, parseCaes } from "./format.ts";

type Terms = Schemas["PrivacyView"];

/** What a price is said for: a core, a GiB or a unit, for an hour. */
const HOUR_MS = 3_600_000;

export function unitOf(kind: string): { units: number; words: string } {
  if (kind === "cpu") return { units: 1000, words: "core and hour" };
  if (kind === "memory" || kind === "storage") return { units: 2 ** 30, words: "GiB and hour" };
  return { units: 1, words: "unit and hour" };
}

/** nCAES for one such unit; exact only where the price was said that way. */
export function hourly(price: Terms["price"], kind: string): bigint {
  const { units } = unitOf(kind);
  return (BigInt(price.amount) * BigInt(units) * BigInt(HOUR_MS)) / (BigInt(price.per_units) * BigInt(price.per_ms));
}

/** What the fields hold, as text. */
export interface Draft {
  level: Terms["level"];
  nodes: readonly string[];
  networks: string;
  share: string;
  concurrent: string;
  shortest: string;
  longest: string;
  price: string;
  region: string;
  verified: boolean;
  attested: boolean;
  bond: string;
}

export function draftOf(terms: Terms): Draft {
  return {
    level: terms.level,
    nodes: terms.nodes,
    networks: terms.networks.join("\n"),
    share: String(terms.share_basis_points / 100),
    concurrent: String(terms.concurrent_max),
    shortest: String(terms.duration_ms_min / 1000),
    longest: String(terms.duration_ms_max / 60_000),
    price: plain(hourly(terms.price, terms.kind)),
    region: terms.region,
    verified: terms.identity === "verified",
    attested: terms.attested,
    bond: plain(terms.bond_min),
  };
}

function plain(amount: number | bigint): string {
  return caes(amount).replaceAll("\u202f", "");
}

export type Change = Partial<Omit<Schemas["PrivacyChange"], "asset">>;

/** The members that differ from the terms in force, or what is wrong by field. */
export function changeOf(draft: Draft, terms: Terms): { change: Change; wrong: Partial<Record<keyof Draft, string>> } {
  const before = draftOf(terms);
  const change: Change = {};
  const wrong: Partial<Record<keyof Draft, string>> = {};
  const differs = (name: keyof Draft): boolean => JSON.stringify(draft[name]) !== JSON.stringify(before[name]);
  const whole = (name: keyof Draft, factor: number, low: number, high: number, words: string): number | undefined => {
    const value = Math.round(Number(draft[name]) * factor);
    if (draft[name] !== "" && value >= low && value <= high) return value;
    wrong[name] = words;
    return undefined;
  };
  if (differs("level")) change.level = draft.level;
  if (differs("nodes")) change.nodes = [...draft.nodes];
  if (differs("networks")) {
    const named = draft.networks.split(/\s+/).filter(Boolean);
    if (named.every((each) => /^[0-9a-f]{64}$/.test(each))) change.networks = named;
    else wrong.networks = "One genesis id of 64 hex digits on each line";
  }
  const numbers = [
    ["share", "share_basis_points", 100, 1, 10_000, "Between 0.01 and 100"],
    ["concurrent", "concurrent_max", 1, 1, 1024, "Between 1 and 1024"],
    ["shortest", "duration_ms_min", 1000, 1, 2 ** 53, "More than zero"],
    ["longest", "duration_ms_max", 60_000, 1, 2 ** 53, "More than zero"],
  ] as const;
  for (const [name, member, factor, low, high, words] of numbers) {
    const value = differs(name) ? whole(name, factor, low, high, words) : undefined;
    if (value !== undefined) change[member] = value;
  }
  if (differs("price")) {
    const amount = parseCaes(draft.price);
    if (amount === null) wrong.price = "CAES, such as 0.5";
    else change.price = { amount, per_units: unitOf(terms.kind).units, per_ms: HOUR_MS };
  }
  if (differs("bond")) {
    const amount = parseCaes(draft.bond);
    if (amount === null) wrong.bond = "CAES, such as 10";
    else change.bond_min = amount;
  }
  if (differs("region")) change.region = draft.region;
  if (differs("verified")) change.identity = draft.verified ? "verified" : "anonymous";
  if (differs("attested")) change.attested = draft.attested;
  return { change, wrong };
}
