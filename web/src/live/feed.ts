/**
 * The one stream that this page follows. What it says of the ledger makes the page read anew what
 * it shows; what it says of now goes into rings, from which charts draw.
 */
import { touch, type Topic } from "../api/resource.ts";
import { clock, Store } from "../store.ts";
import type { Live, Reset } from "./event.ts";
import { Ring } from "./ring.ts";
import { follow, type StreamEvent } from "./stream.ts";

/** `live` comes three times a second: nothing for so long means that what is shown is old. */
export const STALE_MS = 3_000;
/** An hour at three points a second. */
const RING_POINTS = 10_800;
const RINGS_MAX = 400;

export interface Feed {
  state: "opening" | "live" | "stale";
  /** When it last said anything, on this machine's clock. */
  heardMs: number;
  reason: string;
}

export const feed = new Store<Feed>({ state: "opening", heardMs: Date.now(), reason: "" });
export const live = new Store<Live | null>(null);
/** Counts up with every point that came; for what draws from rings. */
export const tick = new Store(0);

const rings = new Map<string, Ring>();

export function ring(name: string): Ring {
  let found = rings.get(name);
  if (!found) {
    if (rings.size >= RINGS_MAX) rings.delete(rings.keys().next().value ?? "");
    found = new Ring(RING_POINTS);
    rings.set(name, found);
  }
  return found;
}

const TOPICS: readonly string[] = ["block", "asset", "lease", "job", "node", "privacy", "account", "name", "phase"];

export function start(): void {
  let ending = new AbortController();
  let wasLost = false;
  const listener = {
    heard(): void {
      feed.set({ state: "live", heardMs: Date.now(), reason: "" });
      if (wasLost) touch();
      wasLost = false;
    },
    event(event: StreamEvent): string | undefined {
      return take(event);
    },
    lost(reason: string): void {
      wasLost = true;
      feed.set({ ...feed.get(), reason });
    },
  };
  const open = (): void => {
    ending = new AbortController();
    void follow("/events", listener, ending.signal);
  };
  clock.subscribe(() => {
    const now = feed.get();
    if (now.state !== "stale" && Date.now() - now.heardMs > STALE_MS) feed.set({ ...now, state: "stale" });
  });
  // A browser has six connections to a node: a tab that nobody looks at gives its own up.
  document.addEventListener("visibilitychange", () => {
    ending.abort();
    if (document.hidden) return;
    wasLost = true;
    open();
  });
  open();
}

function take(event: StreamEvent): string | undefined {
  if (event.kind === "live") {
    keep(JSON.parse(event.data) as Live);
  } else if (event.kind === "reset") {
    touch();
    return (JSON.parse(event.data) as Reset).since;
  } else if (TOPICS.includes(event.kind)) {
    touch(event.kind as Topic);
  }
  return undefined;
}

function keep(now: Live): void {
  const at = now.time_ms;
  ring("height").push(at, now.height);
  ring("leases").push(at, now.leases);
  ring("operations").push(at, now.rates.operations);
  ring("read").push(at, now.rates.memory_read_bytes);
  ring("written").push(at, now.rates.memory_written_bytes);
  ring("connected").push(at, now.links.filter((each) => each.connected).length);
  for (const lease of now.memory) {
    const { measured, counted } = lease;
    const id = lease.lease;
    // A report that is older than the stream's own beat was drawn already, or belongs to a pause.
    const fresh = measured && measured.age_ms < STALE_MS ? measured : null;
    ring(`${id} read us`).push(at, fresh?.read?.p50_us ?? NaN);
    ring(`${id} write us`).push(at, fresh?.write?.p50_us ?? NaN);
    ring(`${id} atomic us`).push(at, fresh?.atomic?.p50_us ?? NaN);
    ring(`${id} read rate`).push(at, fresh?.read?.gigabytes_per_s ?? gigabytes(counted?.read_bytes_per_s));
    ring(`${id} write rate`).push(at, fresh?.write?.gigabytes_per_s ?? gigabytes(counted?.written_bytes_per_s));
  }
  live.set(now);
  tick.set(tick.get() + 1);
}

function gigabytes(bytes: number | null | undefined): number {
  return bytes == null ? NaN : bytes / 1e9;
}
