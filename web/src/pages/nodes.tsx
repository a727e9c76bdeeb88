/** The nodes of the network: as cards, as a graph, and as a table; and this node's connections. */
import { lazy, Suspense } from "react";
import { usePages } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { Empty, Loaded, Loading } from "../components/feedback.tsx";
import { AssetMeter } from "../components/meter.tsx";
import { Page } from "../components/page.tsx";
import { State } from "../components/state.tsx";
import { Table } from "../components/table.tsx";
import { Tabs } from "../components/tabs.tsx";
import { micros, plural, words } from "../format.ts";
import { live } from "../live/feed.ts";
import { link } from "../route.ts";
import { useStore } from "../store.ts";
import { Connections } from "./connections.tsx";

const Topology = lazy(() => import("../components/topology.tsx"));

export type NodeView = Schemas["NodeView"];

export function NodesPage() {
  const nodes = usePages<NodeView>("/v1/nodes", 10, { topics: ["node", "asset", "lease", "privacy"], query: { limit: 200 } });
  const known = nodes.data?.items.length;
  return (
    <Page
      title="Nodes"
      subtitle={known === undefined ? "The machines of this network" : `${plural(known, "machine")} in this network`}
      subject={{ noun: "nodes" }}
    >
      <Loaded of={nodes} what="the nodes">
        {({ items }) => {
          const nodes = items.toSorted((one, other) => Number(other.here) - Number(one.here) || one.name.localeCompare(other.name));
          return (
            <Tabs
              label="How to show the nodes"
              tabs={[
                { name: "cards", label: "Cards", content: () => <Cards nodes={nodes} /> },
                { name: "graph", label: "Graph", content: () => <Graph nodes={nodes} /> },
                { name: "table", label: "Table", content: () => <NodeTable nodes={nodes} /> },
                { name: "connections", label: "Connections", content: () => <Connections /> },
              ]}
            />
          );
        }}
      </Loaded>
    </Page>
  );
}

/** Where its STOQ endpoint is, as far as this node knows. */
export function Place({ node }: { node: NodeView }) {
  if (node.hosts.length === 0 || node.port === null) return <>not known</>;
  return <span className="mono">{node.hosts.map((host) => `[${host}]:${node.port}`).join(" ")}</span>;
}

/** How this node hears another, in a word. */
export function Hearing({ node }: { node: NodeView }) {
  const link = useStore(live)?.links.find((each) => each.node === node.node);
  if (node.revoked) return <State tone="bad">revoked</State>;
  if (node.here) return <State tone="good">this node</State>;
  const connected = link?.connected ?? node.connection?.connected ?? false;
  const rtt = link?.rtt_us ?? node.connection?.rtt_us;
  if (!connected) return <State tone="idle">not connected</State>;
  return <State tone="good">{rtt == null ? "connected" : `connected, ${micros(rtt)}`}</State>;
}

function Cards({ nodes }: { nodes: NodeView[] }) {
  return (
    <div className="cards">
      {nodes.map((node) => (
        <article key={node.node} className="card node-card" data-here={node.here}>
          <div className="row spread">
            <h2>
              <a href={link(`/nodes/${node.node}`)}>{node.name || node.node.slice(0, 12)}</a>
            </h2>
            <Hearing node={node} />
          </div>
          <p className="row">
            <State tone={node.attested ? "good" : "warn"}>{node.attested ? "four proofs in force" : "proofs not in force"}</State>
            <small>
              {words(node.role)}
              {node.mine && !node.here && ", yours too"}
            </small>
          </p>
          {node.assets.length === 0 && <p className="muted">Shows no assets to this node.</p>}
          {node.assets.map((asset) => (
            <AssetMeter key={asset.asset} asset={asset} />
          ))}
        </article>
      ))}
      {nodes.length === 1 && (
        <Empty icon="nodes" title="Alone so far">
          <p>
            <a href={link("/first-run")}>Let another machine in</a>
          </p>
        </Empty>
      )}
    </div>
  );
}

function Graph({ nodes }: { nodes: NodeView[] }) {
  return (
    <>
      <Suspense fallback={<Loading what="the graph" />}>
        <Topology nodes={nodes} />
      </Suspense>
      <p className="legend">
        <span>
          <i className="swatch" /> connected to this node
        </span>
        <span>
          <i className="swatch off" /> not connected now
        </span>
        <span>Thicker: more bytes. The table below says the same.</span>
      </p>
      <NodeTable nodes={nodes} />
    </>
  );
}

function NodeTable({ nodes }: { nodes: NodeView[] }) {
  return (
    <Table
      caption="Nodes"
      rows={nodes}
      rowKey={(node) => node.node}
      columns={[
        { title: "Node", cell: (node) => <a href={link(`/nodes/${node.node}`)}>{node.name || node.node.slice(0, 12)}</a> },
        { title: "Connection", cell: (node) => <Hearing node={node} /> },
        { title: "Role", cell: (node) => node.role },
        { title: "Proofs", cell: (node) => <State tone={node.attested ? "good" : "warn"}>{node.attested ? "in force" : "not in force"}</State> },
        { title: "Assets", cell: (node) => node.assets.length, number: true },
        { title: "Leases", cell: (node) => node.assets.reduce((sum, each) => sum + each.leases, 0), number: true },
        { title: "Place", cell: (node) => <Place node={node} /> },
      ]}
    />
  );
}
