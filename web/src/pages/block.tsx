/** One block, whole. */
import { useRead } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { Loaded } from "../components/feedback.tsx";
import { OperationLine } from "../components/operation.tsx";
import { Card, Page } from "../components/page.tsx";
import { Tabs } from "../components/tabs.tsx";
import { Fact, Facts, Id, Json, Moment } from "../components/text.tsx";
import { count } from "../format.ts";
import { live } from "../live/feed.ts";
import { link } from "../route.ts";
import { useStore } from "../store.ts";

export function BlockPage({ height }: { height: string }) {
  const number = Number(height);
  const block = useRead<Schemas["BlockView"]>(`/v1/blocks/${encodeURIComponent(height)}`);
  const newest = useStore(live)?.height ?? 0;
  return (
    <Page
      title={`Block ${Number.isInteger(number) ? count(number) : height}`}
      subtitle={block.data && <Moment ms={block.data.time_ms} />}
      subject={{ noun: "block", height: number }}
      actions={
        <nav className="row" aria-label="Neighbours">
          {number > 1 && (
            <a className="button" href={link(`/blocks/${number - 1}`)}>
              Previous
            </a>
          )}
          {number < newest && (
            <a className="button" href={link(`/blocks/${number + 1}`)}>
              Next
            </a>
          )}
        </nav>
      }
    >
      <Loaded of={block} what="the block">
        {(data) => (
          <Tabs
            label="The block"
            tabs={[
              { name: "operations", label: "Operations", content: () => <Operations block={data} /> },
              { name: "header", label: "Header", content: () => <Header block={data} /> },
              { name: "json", label: "JSON", content: () => <Json value={data} what="the block as JSON" /> },
            ]}
          />
        )}
      </Loaded>
    </Page>
  );
}

function Operations({ block }: { block: Schemas["BlockView"] }) {
  return (
    <Card>
      <ol className="operations">
        {block.operations.map((operation) => (
          <OperationLine key={operation.index} operation={operation} />
        ))}
      </ol>
    </Card>
  );
}

function Header({ block }: { block: Schemas["BlockView"] }) {
  const hashes = [
    ["Hash", block.hash],
    ["Previous", block.previous],
    ["State after it (app hash)", block.app_hash],
    ["Root of the entries", block.entries_root],
    ["Root of the results", block.results_root],
    ["Sequencer", block.sequencer],
  ] as const;
  return (
    <Card>
      <Facts>
        {hashes.map(([name, value]) => (
          <Fact key={name} name={name}>
            <Id of={value} what={name.toLowerCase()} whole />
          </Fact>
        ))}
        <Fact name="Signed by">{block.signed_header ? "the sequencer, over this header" : "the validators"}</Fact>
      </Facts>
    </Card>
  );
}
