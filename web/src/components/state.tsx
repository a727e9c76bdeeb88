/** States as an icon and a word; the colour only repeats them. */
import { words } from "../format.ts";
import { Icon, type IconName } from "./icon.tsx";

type Tone = "good" | "warn" | "bad" | "busy" | "idle";

const ICONS: Record<Tone, IconName> = { good: "ok", warn: "warn", bad: "bad", busy: "busy", idle: "circle" };

export function State({ tone, children }: { tone: Tone; children: string }) {
  return (
    <span className={`state ${tone}`}>
      <Icon name={ICONS[tone]} />
      {children}
    </span>
  );
}

const TONES: Record<string, Tone> = {
  available: "good",
  allocated: "busy",
  suspended: "warn",
  maintenance: "warn",
  failed: "bad",
  reserved: "busy",
  active: "good",
  ended: "warn",
  settled: "idle",
  claimed: "idle",
  expired: "idle",
  queued: "idle",
  leasing: "busy",
  running: "busy",
  sending: "busy",
  waiting: "warn",
  settling: "busy",
  done: "good",
  cancelled: "warn",
  lost: "bad",
};

/** The state of an asset, a lease, a job or a transfer. */
export function StateOf({ state }: { state: string }) {
  return <State tone={TONES[state] ?? "idle"}>{words(state)}</State>;
}

const LEVELS: Record<string, IconName> = {
  private: "lock",
  private_network: "lock",
  p2p: "people",
  public_network: "open",
  full_public: "globe",
};

export function Level({ level }: { level: string }) {
  return (
    <span className="state">
      <Icon name={LEVELS[level] ?? "lock"} />
      {level === "p2p" ? "P2P" : words(level)}
    </span>
  );
}
