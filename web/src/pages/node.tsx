/** One node: its place, its connection, its proofs and its assets. */
import { useRead } from "../api/resource.ts";
import { Loaded } from "../components/feedback.tsx";
import { AssetMeter } from "../components/meter.tsx";
import { Card, Page } from "../components/page.tsx";
import { Proofs } from "../components/proofs.tsx";
import { State } from "../components/state.tsx";
import { Tabs } from "../components/tabs.tsx";
import { Fact, Facts, Id, Json } from "../components/text.tsx";
import { bytes, duration, micros } from "../format.ts";
import { Hearing, type NodeView, Place } from "./nodes.tsx";

export function NodePage({ id }: { id: string }) {
  const node = useRead<NodeView>(`/v1/nodes/${id}`, { topics: ["node", "asset", "lease"] });
  return (
    <Page title={node.data?.name || "Node"} subtitle={<Id of={id} what="the node's id" whole />} subject={{ noun: "node", id }}>
      <Loaded of={node} what="the node">
        {(data) => (
          <Tabs
            label="The node"
            tabs={[
              { name: "overview", label: "Overview", content: () => <NodeOverview node={data} /> },
              { name: "json", label: "JSON", content: () => <Json value={data} what="the node as JSON" /> },
            ]}
          />
        )}
      </Loaded>
    </Page>
  );
}

function NodeOverview({ node }: { node: NodeView }) {
  const { connection } = node;
  return (
    <>
      <p className="row">
        <Hearing node={node} />
        {node.mine && <State tone="idle">yours</State>}
      </p>
      <Proofs node={node.node} />
      <div className="columns">
        <Card title="Assets">
          <div className="stack">
            {node.assets.length === 0 && <p className="muted">Shows no assets to this node.</p>}
            {node.assets.map((asset) => (
              <AssetMeter key={asset.asset} asset={asset} />
            ))}
          </div>
        </Card>
        <Card title="Place and connection">
          <Facts>
            <Fact name="Owner">
              <Id of={node.owner} what="the owner's id" />
            </Fact>
            <Fact name="Role">{node.role}</Fact>
            <Fact name="Place"><Place node={node} /></Fact>
            {connection && (
              <>
                <Fact name="Heard">{connection.heard_ms_ago == null ? "never" : `${duration(connection.heard_ms_ago)} ago`}</Fact>
                <Fact name="Round trip">{connection.rtt_us == null ? "not measured" : micros(connection.rtt_us)}</Fact>
                <Fact name="Sent">{connection.bytes_sent === null ? "not counted" : bytes(connection.bytes_sent)}</Fact>
                <Fact name="Received">{connection.bytes_received === null ? "not counted" : bytes(connection.bytes_received)}</Fact>
              </>
            )}
            <Fact name="Transactions">{node.nonce}</Fact>
          </Facts>
        </Card>
      </div>
    </>
  );
}
