/** What was done to an asset, each step with the proof that the ledger holds it. */
import { useRead } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { amend, link, usePlace } from "../route.ts";
import { Empty, Loaded } from "./feedback.tsx";
import { OperationLine } from "./operation.tsx";
import { More } from "./table.tsx";
import { Fact, Facts, Id, Moment } from "./text.tsx";

const PAGE = 50;

export function History({ asset }: { asset: string }) {
  const { query } = usePlace();
  const limit = Math.min(500, Number(query.get("history") ?? PAGE));
  const history = useRead<Schemas["HistoryPage"]>(`/assets/${asset}/history`, { topics: ["asset", "lease", "privacy"], query: { limit } });
  return (
    <Loaded of={history} what="the history">
      {({ items, row, next_cursor }) => (
        <>
          <p className="muted">
            Every step has a path of hashes to a signed block, which can be checked without trust in this node. The
            asset as it is now is proven at height <a href={link(`/blocks/${row.height}`)}>{row.height}</a>.
          </p>
          {items.length === 0 && <Empty icon="ledger" title="Nothing yet" />}
          <ol className="timeline">
            {items.map(({ operation, proof }) => (
              <li key={proof.tx}>
                <small>
                  <Moment ms={proof.time_ms} />, block <a href={link(`/blocks/${proof.height}`)}>{proof.height}</a>
                </small>
                <ul>
                  <OperationLine operation={operation} about={asset} />
                </ul>
                <details>
                  <summary>Proof</summary>
                  <Facts>
                    <Fact name="Transaction">
                      <Id of={proof.tx} what="the transaction's id" whole />
                    </Fact>
                    <Fact name="Place">
                      entry {proof.index}; {proof.path.length} hashes lead to the block's entries root
                    </Fact>
                    {proof.path.map((hash, step) => (
                      <Fact key={`${step}${hash}`} name={`Hash ${step + 1}`}>
                        <span className="mono">{hash}</span>
                      </Fact>
                    ))}
                    <Fact name="Signed header">
                      <Id of={proof.header} what="the signed header" />
                    </Fact>
                  </Facts>
                </details>
              </li>
            ))}
          </ol>
          <More more={next_cursor !== null && limit < 500} onMore={() => amend({ history: String(limit + 150) })} />
        </>
      )}
    </Loaded>
  );
}
