/** One transaction, decoded. */
import { useRead } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { Loaded } from "../components/feedback.tsx";
import { Card, Page } from "../components/page.tsx";
import { State } from "../components/state.tsx";
import { Tabs } from "../components/tabs.tsx";
import { Fact, Facts, Id, Json, Moment } from "../components/text.tsx";
import { words } from "../format.ts";
import { link } from "../route.ts";

type Detail = Schemas["TransactionDetail"];

export function TransactionPage({ id }: { id: string }) {
  const transaction = useRead<Detail>(`/v1/transactions/${encodeURIComponent(id)}`);
  return (
    <Page
      title={transaction.data ? transaction.data.operation.type : "Transaction"}
      subtitle={<Id of={id} what="the transaction's id" whole />}
      subject={{ noun: "transaction", id }}
    >
      <Loaded of={transaction} what="the transaction">
        {(data) => (
          <>
            <p className="row">
              <State tone={data.operation.code === "ok" ? "good" : "bad"}>
                {data.operation.code === "ok" ? "took effect" : `refused: ${data.operation.refusal ?? data.operation.code}`}
              </State>
              <strong>{data.operation.words}</strong>
            </p>
            <Tabs
              label="The transaction"
              tabs={[
                { name: "decoded", label: "Decoded", content: () => <Decoded transaction={data} /> },
                { name: "bytes", label: "Bytes", content: () => <Json value={data.transaction} what="the transaction as hex" /> },
                { name: "json", label: "JSON", content: () => <Json value={data} what="the transaction as JSON" /> },
              ]}
            />
          </>
        )}
      </Loaded>
    </Page>
  );
}

function Decoded({ transaction }: { transaction: Detail }) {
  const { operation } = transaction;
  return (
    <div className="columns">
      <Card title="Where it stands">
        <Facts>
          <Fact name="Block">
            <a href={link(`/blocks/${transaction.height}`)}>{transaction.height}</a>, entry {transaction.index}
          </Fact>
          <Fact name="Time">
            <Moment ms={transaction.time_ms} />
          </Fact>
          <Fact name="Signer">
            {operation.signer_name} {operation.signer && <Id of={operation.signer} what="the signer's id" />}
          </Fact>
          <Fact name="Nonce">{transaction.nonce}</Fact>
          <Fact name="Good from">
            <Moment ms={transaction.valid_from_ms} />
          </Fact>
          <Fact name="Good until">
            <Moment ms={transaction.valid_until_ms} />
          </Fact>
          {operation.failures.length > 0 && <Fact name="Refused proofs">{operation.failures.join("; ")}</Fact>}
        </Facts>
      </Card>
      <Card title="What it says">
        <Facts>
          {Object.entries(transaction.body).map(([name, value]) => (
            <Fact key={name} name={words(name)}>
              <span className="mono">{typeof value === "object" ? JSON.stringify(value) : String(value)}</span>
            </Fact>
          ))}
        </Facts>
      </Card>
    </div>
  );
}
