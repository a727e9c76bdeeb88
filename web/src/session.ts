/**
 * The session token, with which the node takes writes from this page. `hm ui` opens the page with
 * it after the `#`, which no server sees; it is kept for this tab and leaves the address at once.
 */
import { Store } from "./store.ts";

const KEY = "hypermesh-token";

export interface Entry {
  token: string | null;
  open: string;
}

/** What `#token=...&open=/leases` says; without a token it is the place in the page alone. */
export function parseEntry(hash: string): Entry {
  if (!hash.startsWith("#token=")) return { token: null, open: hash.replace(/^#/, "") || "/" };
  const said = new URLSearchParams(hash.slice(1));
  const open = said.get("open") ?? "/";
  return { token: said.get("token") || null, open: open.startsWith("/") ? open : "/" };
}

export const token = new Store<string | null>(null);

export function enter(): void {
  const entry = parseEntry(location.hash);
  if (entry.token !== null) {
    sessionStorage.setItem(KEY, entry.token);
    history.replaceState(null, "", `#${entry.open}`);
  }
  token.set(sessionStorage.getItem(KEY));
}

/** The node does not know the token (any more): the page is read-only. */
export function leave(): void {
  sessionStorage.removeItem(KEY);
  token.set(null);
}
