/** What events carry (`wire/api/event.py`): an OpenAPI document does not say what a stream holds. */
import type { Schemas } from "../api/types.ts";

/** Recent operations of one name that this node waited for. */
export interface Timing {
  count: number;
  p50_us: number;
  p99_us: number;
}

/** What happened each second, on average over `window_ms`. */
export interface Rates {
  window_ms: number;
  blocks: number;
  operations: number;
  memory_read_bytes: number;
  memory_written_bytes: number;
}

/** A node as this one hears it now. */
export interface Link {
  node: string;
  connected: boolean;
  heard_ms_ago: number | null;
  rtt_us: number | null;
}

/** `live`: this node now, three times a second. */
export interface Live {
  time_ms: number;
  level: string;
  summary: string;
  height: number;
  app_hash: string;
  block_time_ms: number;
  block_age_ms: number | null;
  contact_age_ms: number | null;
  assets: number;
  leases: number;
  rates: Rates;
  operations: Record<string, Timing>;
  memory: Schemas["MemoryLeaseView"][];
  links: Link[];
}

/** `reset`: events were left out; `since` is the id to resume with. */
export interface Reset {
  reason: string;
  since: string;
}
