/** Light or dark: as the system says, until the user says otherwise. */
import { Store } from "./store.ts";

export type Theme = "system" | "light" | "dark";

const KEY = "hypermesh-theme";
const ORDER: readonly Theme[] = ["system", "light", "dark"];

export const theme = new Store<Theme>("system");

export function dress(): void {
  const kept = localStorage.getItem(KEY) as Theme | null;
  apply(kept !== null && ORDER.includes(kept) ? kept : "system");
}

export function nextTheme(): void {
  const next = ORDER[(ORDER.indexOf(theme.get()) + 1) % ORDER.length] ?? "system";
  localStorage.setItem(KEY, next);
  apply(next);
}

function apply(chosen: Theme): void {
  if (chosen === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = chosen;
  theme.set(chosen);
}

/** A colour of the style sheet as it is now, for what draws on a canvas. */
export function colour(name: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** Calls `redraw` when the colours change. */
export function onColours(redraw: () => void): () => void {
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", redraw);
  const leave = theme.subscribe(redraw);
  return () => {
    system.removeEventListener("change", redraw);
    leave();
  };
}
