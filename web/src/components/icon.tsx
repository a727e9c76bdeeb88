/** Icons as strokes in the colour of the text around them. Always beside a word, so hidden from
 * screen readers. */
const PATHS = {
  overview: "M4 13h7V4H4zM13 20h7v-9h-7zM13 4v4h7V4zM4 20h7v-4H4z",
  nodes: "M12 3 4 7.5v9L12 21l8-4.5v-9zM12 12l8-4.5M12 12v9M12 12 4 7.5",
  assets: "M4 6h16v5H4zM4 13h16v5H4zM7 8.5h.01M7 15.5h.01",
  leases: "M8 4v3M16 4v3M4 9h16M5 6h14v14H5zM9 14l2 2 4-4",
  jobs: "M5 4l14 8-14 8z",
  files: "M6 3h8l4 4v14H6zM14 3v4h4M12 18v-7M9 14l3-3 3 3",
  ledger: "M5 4h14v4H5zM5 10h14v4H5zM5 16h14v4H5z",
  trust: "M12 3l8 3v6c0 4.5-3.4 7.9-8 9-4.6-1.1-8-4.5-8-9V6zM8.5 12l2.5 2.5 4.5-5",
  wallet: "M4 7h14a2 2 0 0 1 2 2v9H6a2 2 0 0 1-2-2zM4 7l11-3v3M16 13h.01",
  cheat: "M12 3l8 3v6c0 4.5-3.4 7.9-8 9-4.6-1.1-8-4.5-8-9V6zM9.5 9.5l5 5M14.5 9.5l-5 5",
  first: "M5 12l4 4L19 6",
  ok: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M8 12.5l3 3 5-6",
  warn: "M12 4 2.5 20h19zM12 10v4M12 17h.01",
  bad: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M9 9l6 6M15 9l-6 6",
  circle: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18",
  busy: "M12 3a9 9 0 1 0 9 9M12 7v5l3 2",
  lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  open: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 6.7-1.4",
  people: "M9 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6M3 20c0-3 2.7-5 6-5s6 2 6 5M16 5.5a3 3 0 0 1 0 5M17 15c2.4.5 4 2.3 4 5",
  globe: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M3 12h18M12 3c3 3 3 15 0 18M12 3c-3 3-3 15 0 18",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  close: "M6 6l12 12M18 6L6 18",
  menu: "M4 7h16M4 12h16M4 17h16",
  pause: "M8 5v14M16 5v14",
  play: "M7 5l12 7-12 7z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.5 1.5M17.5 17.5 19 19M19 5l-1.5 1.5M6.5 17.5 5 19",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5",
  system: "M3 5h18v11H3zM9 20h6M12 16v4",
  cpu: "M7 7h10v10H7zM10 3v4M14 3v4M10 17v4M14 17v4M3 10h4M3 14h4M17 10h4M17 14h4",
  memory: "M3 8h18v8H3zM7 8v8M12 8v8M17 8v8M6 16v3M12 16v3M18 16v3",
  storage: "M5 6c0-1.7 3-3 7-3s7 1.3 7 3v12c0 1.7-3 3-7 3s-7-1.3-7-3zM5 6c0 1.7 3 3 7 3s7-1.3 7-3M5 12c0 1.7 3 3 7 3s7-1.3 7-3",
  code: "M8 7l-5 5 5 5M16 7l5 5-5 5M14 4l-4 16",
  link: "M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg className="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

const KIND_ICONS: Record<string, IconName> = { cpu: "cpu", memory: "memory", storage: "storage" };

export function KindIcon({ kind }: { kind: string }) {
  return <Icon name={KIND_ICONS[kind] ?? "assets"} />;
}
