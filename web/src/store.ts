/** A value that components can watch: the whole of this page's state beside the URL. */
import { useSyncExternalStore } from "react";

export class Store<T> {
  readonly #listeners = new Set<() => void>();
  #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  get = (): T => this.#value;

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) listener();
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };
}

export function useStore<T>(store: Store<T>): T {
  return useSyncExternalStore(store.subscribe, store.get);
}

/** The time, once a second; for ages. */
export const clock = new Store(Date.now());

if (typeof window !== "undefined") window.setInterval(() => clock.set(Date.now()), 1000);
