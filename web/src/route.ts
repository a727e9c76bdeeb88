/**
 * Where the page is: `#/assets/ID?tab=history`. It stands after the `#` because the paths before it
 * are the API's. Everything that a link should bring back is in it.
 */
import { useSyncExternalStore } from "react";

export interface Place {
  /** Path segments, decoded. */
  path: string[];
  query: URLSearchParams;
}

export function parsePlace(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#/, "").split("?", 2);
  return {
    path: path.split("/").filter(Boolean).map(decoded),
    query: new URLSearchParams(query),
  };
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** The address of a place, for `href`. Empty values are left out of the query. */
export function link(path: string, query: Record<string, string | undefined> = {}): string {
  const kept = Object.entries(query).filter((pair): pair is [string, string] => !!pair[1]);
  const search = new URLSearchParams(kept).toString();
  return `#${path}${search ? `?${search}` : ""}`;
}

let seen = { hash: "\0", place: parsePlace("") };

function current(): Place {
  if (seen.hash !== location.hash) seen = { hash: location.hash, place: parsePlace(location.hash) };
  return seen.place;
}

function subscribe(listener: () => void): () => void {
  addEventListener("hashchange", listener);
  return () => removeEventListener("hashchange", listener);
}

export function usePlace(): Place {
  return useSyncExternalStore(subscribe, current);
}

export function go(path: string, query: Record<string, string | undefined> = {}): void {
  location.hash = link(path, query);
}

/** Set values of the query in place, without an entry in the history. */
export function amend(values: Record<string, string | undefined>): void {
  const { path, query } = current();
  const merged = { ...Object.fromEntries(query), ...values };
  history.replaceState(null, "", link(`/${path.map(encodeURIComponent).join("/")}`, merged));
  dispatchEvent(new HashChangeEvent("hashchange"));
}
