/** The live connections of this node, and what each waits for. */
import { usePages } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { Empty, Loaded } from "../components/feedback.tsx";
import { Table } from "../components/table.tsx";
import { Command } from "../components/text.tsx";
import { bytes, micros, percent, words } from "../format.ts";
import { link } from "../route.ts";

type Link = Schemas["StoqLink"];

const AGAIN_MS = 2_000;

export function Connections() {
  const links = usePages<Link>("/v1/stoq/connections", 1, { query: { limit: 200 }, everyMs: AGAIN_MS });
  return (
    <Loaded of={links} what="the connections">
      {({ items }) =>
        items.length === 0 ? (
          <Empty icon="link" title="This node has no connection now" />
        ) : (
          <>
            <Table
              caption="Connections"
              rows={items}
              rowKey={(each) => each.key}
              columns={[
                { title: "With", cell: (each) => <Peer of={each} /> },
                { title: "Protocol", cell: (each) => each.alpn },
                { title: "Path", cell: (each) => each.path && <span title={each.path.reason}>{words(each.path.tier)}</span> },
                { title: "Waits for", cell: (each) => each.path && <Waits path={each.path} /> },
                { title: "Round trip", cell: (each) => micros(each.rtt_us), number: true },
                { title: "Lost", cell: (each) => lost(each), number: true },
                { title: "Sent", cell: (each) => bytes(each.bytes_sent), number: true },
                { title: "Received", cell: (each) => bytes(each.bytes_received), number: true },
                { title: "Key exchange", cell: (each) => each.key_exchange },
              ]}
            />
            <p className="muted">The same with each connection's shares of time:</p>
            <Command>hm net why</Command>
          </>
        )
      }
    </Loaded>
  );
}

function Peer({ of }: { of: Link }) {
  const from = of.opened ? "opened here" : "opened there";
  return (
    <>
      {of.node ? <a href={link(`/nodes/${of.node}`)}>{of.name}</a> : "somebody without a certificate"} <small>{from}</small>
    </>
  );
}

function Waits({ path }: { path: Schemas["StoqPath"] }) {
  const share = (path.shares_bp[path.waits_for] ?? 0) / 10_000;
  return (
    <>
      {path.waits_for} <small>{percent(share)} of its time</small>
    </>
  );
}

function lost(of: Link): string {
  return of.packets_sent > 0 ? percent(of.packets_lost / of.packets_sent) : "nothing sent";
}
