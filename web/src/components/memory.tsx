/** Remote memory as it is used now: what programs here measure, what hosts here count. */
import { lazy, Suspense } from "react";
import { bytes, duration, micros, gigabytesPerSecond } from "../format.ts";
import type { Live } from "../live/event.ts";
import { live } from "../live/feed.ts";
import { link } from "../route.ts";
import { useStore } from "../store.ts";
import { Loading } from "./feedback.tsx";
import { StaleSince } from "./figure.tsx";
import { Card } from "./page.tsx";
import { State } from "./state.tsx";
import { Table } from "./table.tsx";

const Chart = lazy(() => import("./chart.tsx"));

type MemoryLease = Live["memory"][number];

/** All leases of memory that are used from here or lent from here. */
export function LiveMemory() {
  const leases = useStore(live)?.memory ?? [];
  if (leases.length === 0) return null;
  return (
    <Card title="Remote memory now" aside={<StaleSince />}>
      <MemoryTable leases={leases} />
    </Card>
  );
}

/** One lease of memory, with charts of the last two minutes. */
export function MemoryCharts({ lease }: { lease: string }) {
  const now = useStore(live)?.memory.find((each) => each.lease === lease);
  if (!now) return null;
  return (
    <Card title="Use of this memory, live" aside={<StaleSince />}>
      <div className="stack">
        <Suspense fallback={<Loading what="the charts" />}>
          <div className="columns">
            <Chart
              title="Latency, median"
              unit="µs"
              series={[
                { ring: `${lease} read us`, label: "read" },
                { ring: `${lease} write us`, label: "write" },
                { ring: `${lease} atomic us`, label: "swap and add" },
              ]}
            />
            <Chart
              title="Throughput"
              unit="GB/s"
              series={[
                { ring: `${lease} read rate`, label: "read" },
                { ring: `${lease} write rate`, label: "write" },
              ]}
            />
          </div>
        </Suspense>
        <MemoryTable leases={[now]} />
        {now.measured === null && (
          <p className="muted">
            No program on this machine has used it in the last minutes. One that does, shows its microseconds here:{" "}
            <code>mesh.memory.open("{now.address.slice(0, 24)}…")</code>
          </p>
        )}
      </div>
    </Card>
  );
}

function MemoryTable({ leases }: { leases: readonly MemoryLease[] }) {
  return (
    <Table
      caption="Remote memory, as it is now"
      rows={leases}
      rowKey={(each) => each.lease}
      columns={[
        { title: "Lease", cell: (each) => <a href={link(`/leases/${each.lease}`)}>{bytes(each.size_bytes)} of {each.host_name}</a> },
        { title: "Here", cell: (each) => <State tone="idle">{each.borrowed ? (each.lent ? "both sides" : "borrowed") : "lent"}</State> },
        { title: "Read", cell: (each) => figure(each.measured?.read), number: true },
        { title: "Write", cell: (each) => figure(each.measured?.write), number: true },
        { title: "Swap and add", cell: (each) => figure(each.measured?.atomic), number: true },
        { title: "Moved", cell: moved, number: true },
        { title: "Source", cell: source, wide: true },
      ]}
    />
  );
}

function figure(of: { p50_us: number; p99_us: number; gigabytes_per_s: number } | null | undefined) {
  if (!of) return <span className="muted">none</span>;
  return (
    <span className="live">
      <strong>{micros(of.p50_us)}</strong>
      <br />
      99 %: {micros(of.p99_us)}
      <br />
      {gigabytesPerSecond(of.gigabytes_per_s)}
    </span>
  );
}

function moved(of: MemoryLease) {
  const counts = of.measured ?? of.counted;
  return counts ? (
    <span className="live">
      {bytes(counts.bytes_read)} read
      <br />
      {bytes(counts.bytes_written)} written
    </span>
  ) : (
    <span className="muted">not known</span>
  );
}

function source(of: MemoryLease) {
  if (of.measured) return `${of.measured.source}, ${duration(Math.round(of.measured.age_ms / 100) * 100)} ago`;
  return of.counted?.source ?? "nobody reports";
}
