/** Figures as people read them. Pure. */

const NANO = 1_000_000_000n;

/** nCAES as CAES, exact: `1.5`, `0.000000001`. */
export function caes(amount: number | bigint): string {
  const whole = BigInt(amount);
  const sign = whole < 0n ? "−" : "";
  const size = whole < 0n ? -whole : whole;
  const fraction = (size % NANO).toString().padStart(9, "0").replace(/0+$/, "");
  return `${sign}${grouped((size / NANO).toString())}${fraction ? `.${fraction}` : ""}`;
}

/** Amounts together, exact: each may be beyond what a double holds. */
export function sum(...amounts: (number | bigint | null)[]): bigint {
  return amounts.reduce<bigint>((whole, each) => whole + BigInt(each ?? 0), 0n);
}

/** An amount for a headline: cut, never rounded up, and in nCAES where it would look like nothing. */
export function caesFigure(amount: number | bigint): { value: string; unit: string } {
  const nano = Number(amount);
  if (nano !== 0 && Math.abs(nano) < 1e6) return { value: trimmed(nano, 0), unit: "nCAES" };
  const digits = Math.abs(nano) < 1e9 ? 4 : 2;
  return { value: trimmed(Math.trunc(nano / 10 ** (9 - digits)) / 10 ** digits, digits), unit: "CAES" };
}

/** nCAES from text in CAES; null where the text is no amount. */
export function parseCaes(text: string): number | null {
  const found = /^([0-9]{1,7})(?:\.([0-9]{1,9}))?$/.exec(text.trim());
  if (!found) return null;
  return Number(BigInt(found[1] ?? "0") * NANO + BigInt((found[2] ?? "").padEnd(9, "0")));
}

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < BINARY.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${trimmed(value, value < 10 && unit > 0 ? 1 : 0)} ${BINARY[unit]}`;
}

/** Bytes from `64MiB`, `1.5 GiB` or a whole number; null for anything else. */
export function parseBytes(text: string): number | null {
  const found = /^\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]iB|B)?\s*$/.exec(text);
  if (!found) return null;
  const value = Number(found[1]) * 1024 ** BINARY.indexOf(found[2] ?? "B");
  return Number.isSafeInteger(value) && value > 0 ? value : null;
}

/** An amount of an asset in the unit of its kind. */
export function units(count: number | null | undefined, kind: string): string {
  if (count === null || count === undefined) return "not shown";
  switch (kind) {
    case "memory":
    case "storage":
      return bytes(count);
    case "cpu":
      return `${trimmed(count / 1000, 2)} ${count === 1000 ? "core" : "cores"}`;
    case "network":
      return `${bytes(count / 8)}/s`;
    default:
      return trimmed(count, 0);
  }
}

const HOUR_MS = 3_600_000;

export function duration(ms: number): string {
  if (ms < 0) return `−${duration(-ms)}`;
  if (ms < 1) return `${trimmed(ms * 1000, 0)} µs`;
  if (ms < 1000) return `${trimmed(ms, ms < 10 ? 1 : 0)} ms`;
  if (ms < 60_000) return `${trimmed(ms / 1000, ms < 10_000 ? 1 : 0)} s`;
  if (ms < HOUR_MS) return twoParts(ms, 60_000, "min", 1000, "s");
  if (ms < 48 * HOUR_MS) return twoParts(ms, HOUR_MS, "h", 60_000, "min");
  return `${Math.floor(ms / (24 * HOUR_MS))} days`;
}

function twoParts(ms: number, large: number, largeWord: string, small: number, smallWord: string): string {
  const rest = Math.floor((ms % large) / small);
  return `${Math.floor(ms / large)} ${largeWord}${rest ? ` ${rest} ${smallWord}` : ""}`;
}

export function ago(then: number, now: number): string {
  return now - then < 1500 ? "just now" : `${duration(Math.round((now - then) / 1000) * 1000)} ago`;
}

/** `HH:MM:SS` here. */
export function clockTime(ms: number): string {
  return new Date(ms).toLocaleTimeString("en-GB");
}

/** Date and time here, to the second. */
export function moment(ms: number): string {
  const then = new Date(ms);
  return `${then.toLocaleDateString("en-CA")} ${then.toLocaleTimeString("en-GB")}`;
}

export function micros(us: number): string {
  return us >= 1000 ? `${trimmed(us / 1000, 1)} ms` : `${trimmed(us, us < 10 ? 1 : 0)} µs`;
}

export function gigabytesPerSecond(value: number): string {
  return `${trimmed(value, value < 0.1 ? 4 : 2)} GB/s`;
}

export function percent(share: number): string {
  return `${trimmed(share * 100, share < 0.1 ? 1 : 0)} %`;
}

export function count(value: number): string {
  return grouped(String(Math.round(value)));
}

/** A price as a sentence: nCAES for some units held for some time. */
export function price(of: { amount: number; per_units: number; per_ms: number }, kind: string): string {
  if (of.amount === 0) return "free";
  return `${caes(of.amount)} CAES for ${units(of.per_units, kind)} each ${duration(of.per_ms)}`;
}

export function short(id: string): string {
  return id.length > 14 ? `${id.slice(0, 12)}…` : id;
}

/** What an asset of a kind is called. */
export function kindName(kind: string): string {
  return kind === "cpu" || kind === "gpu" ? kind.toUpperCase() : `${kind[0]?.toUpperCase()}${kind.slice(1)}`;
}

/** One of the details that a host shows of its hardware: sizes and shares come as bare numbers. */
export function detail(name: string, value: string): string {
  if (!/^[0-9]+$/.test(value)) return value;
  if (name === "share") return percent(Number(value) / 10_000);
  return Number(value) > 65_536 ? bytes(Number(value)) : value;
}

/** `private_network` as `private network`. */
export function words(name: string): string {
  return name.replaceAll("_", " ");
}

export function plural(many: number, one: string, more = `${one}s`): string {
  return `${count(many)} ${many === 1 ? one : more}`;
}

function trimmed(value: number, digits: number): string {
  const [whole = "0", fraction = ""] = value.toFixed(digits).split(".");
  const kept = fraction.replace(/0+$/, "");
  return `${grouped(whole)}${kept ? `.${kept}` : ""}`;
}

function grouped(digits: string): string {
  return digits.replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
}
