/** Short messages about what the user did, spoken by screen readers as well. */
import { Store, useStore } from "../store.ts";
import { Icon } from "./icon.tsx";

const SHOWN_MS = 6_000;

interface Message {
  text: string;
  number: number;
}

const messages = new Store<readonly Message[]>([]);
let made = 0;

export function announce(text: string): void {
  const message = { text, number: (made += 1) };
  messages.set([...messages.get().slice(-3), message]);
  setTimeout(() => messages.set(messages.get().filter((each) => each !== message)), SHOWN_MS);
}

export function Toasts() {
  const shown = useStore(messages);
  return (
    <div className="toasts" role="status" aria-live="polite">
      {shown.map((each) => (
        <div key={each.number} className="toast">
          <Icon name="ok" />
          <span>{each.text}</span>
        </div>
      ))}
    </div>
  );
}
