/**
 * What the page has read, by path: shared by the components that show it, and read anew when an
 * event of its topics comes. What is shown stays while it is read again or cannot be.
 */
import { useEffect, useMemo } from "react";
import { Store, useStore } from "../store.ts";
import { asProblem, type Problem, type Query, read, withQuery } from "./client.ts";
import type { Page } from "./types.ts";

export type Topic = "block" | "asset" | "lease" | "job" | "node" | "privacy" | "account" | "name" | "phase";

export interface Snapshot<T> {
  data?: T;
  problem?: Problem;
  /** When `data` was read. */
  asOf?: number;
  loading: boolean;
}

/** A list, as long as it has been unrolled. */
export interface Unrolled<T> {
  items: T[];
  more: boolean;
}

const KEPT_MAX = 100;
/** At most so often is a path read, whatever happens on the ledger. */
const AGAIN_MS_MIN = 500;

class Resource<T> extends Store<Snapshot<T>> {
  readonly #load: () => Promise<T>;
  #running = false;
  #wanted = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  topics: ReadonlySet<Topic> = new Set();
  users = 0;

  constructor(load: () => Promise<T>) {
    super({ loading: true });
    this.#load = load;
  }

  /** Read it soon: at once, or when the last reading is old enough. */
  refresh = (): void => {
    this.#wanted = true;
    if (this.#running || this.#timer !== undefined) return;
    const age = Date.now() - (this.get().asOf ?? 0);
    this.#timer = setTimeout(() => void this.#run(), Math.max(0, AGAIN_MS_MIN - age));
  };

  async #run(): Promise<void> {
    this.#timer = undefined;
    this.#wanted = false;
    this.#running = true;
    try {
      this.set({ data: await this.#load(), asOf: Date.now(), loading: false });
    } catch (error) {
      this.set({ ...this.get(), problem: asProblem(error), loading: false });
    } finally {
      this.#running = false;
      if (this.#wanted && this.users > 0) this.refresh();
    }
  }
}

const kept = new Map<string, Resource<unknown>>();

/** Whatever is shown of `topic` (everything, without one) is read anew. */
export function touch(topic?: Topic): void {
  for (const resource of kept.values()) {
    if (resource.users > 0 && (topic === undefined || resource.topics.has(topic))) resource.refresh();
  }
}

interface Options {
  query?: Query;
  topics?: readonly Topic[];
  /** Read it anew so often, where no event tells of it. */
  everyMs?: number | undefined;
}

export interface Reading<T> extends Snapshot<T> {
  refresh: () => void;
}

/** The answer to `GET path`; nothing is asked while `path` is null. */
export function useRead<T>(path: string | null, options: Options = {}): Reading<T> {
  const asked = path === null ? null : withQuery(path, options.query ?? {});
  return useResource(asked ?? "", () => (asked === null ? pending<T>() : read<T>(asked)), options);
}

/** The first `pages` pages of a list. */
export function usePages<T>(path: string, pages: number, options: Options = {}): Reading<Unrolled<T>> {
  const asked = withQuery(path, options.query ?? {});
  return useResource(`${asked} ${pages}`, () => unroll<T>(path, options.query ?? {}, pages), options);
}

async function unroll<T>(path: string, query: Query, pages: number): Promise<Unrolled<T>> {
  const items: T[] = [];
  let cursor: string | null = null;
  for (let page = 0; page < pages; page += 1) {
    const answer: Page<T> = await read<Page<T>>(path, { ...query, cursor });
    items.push(...answer.items);
    cursor = answer.next_cursor;
    if (cursor === null) break;
  }
  return { items, more: cursor !== null };
}

function useResource<T>(key: string, load: () => Promise<T>, options: Options): Reading<T> {
  // `key` says all that `load` depends on.
  const resource = useMemo(() => resourceOf(key, load), [key]);
  const topics = options.topics?.join(" ") ?? "";
  useEffect(() => {
    resource.topics = new Set([...resource.topics, ...((topics ? topics.split(" ") : []) as Topic[])]);
    resource.users += 1;
    resource.refresh();
    return () => {
      resource.users -= 1;
    };
  }, [resource, topics]);
  useEffect(() => {
    if (options.everyMs === undefined) return;
    const timer = setInterval(resource.refresh, options.everyMs);
    return () => clearInterval(timer);
  }, [resource, options.everyMs]);
  return { ...useStore(resource), refresh: resource.refresh };
}

function resourceOf<T>(key: string, load: () => Promise<T>): Resource<T> {
  const known = kept.get(key) as Resource<T> | undefined;
  if (known) return known;
  for (const [other, resource] of kept) {
    if (kept.size < KEPT_MAX) break;
    if (resource.users === 0) kept.delete(other);
  }
  const made = new Resource(load);
  kept.set(key, made as Resource<unknown>);
  return made;
}

function pending<T>(): Promise<T> {
  return new Promise(() => undefined);
}
