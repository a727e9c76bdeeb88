/** The owner's account, and why it holds what it holds. */
import { useState } from "react";
import { write } from "../api/client.ts";
import { touch, usePages, useRead } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { Dialog } from "../components/dialog.tsx";
import { Empty, Loaded } from "../components/feedback.tsx";
import { Figure } from "../components/figure.tsx";
import { Field, submitting, useWrite, WriteButton, WriteProblem } from "../components/form.tsx";
import { Page, Section } from "../components/page.tsx";
import { More, Table } from "../components/table.tsx";
import { Id, Moment } from "../components/text.tsx";
import { announce } from "../components/toast.tsx";
import { caes, caesFigure, parseCaes, sum } from "../format.ts";
import { amend, link, usePlace } from "../route.ts";

type Account = Schemas["AccountView"];
type Entry = Schemas["EntryView"];

export function WalletPage() {
  const account = useRead<Account>("/v1/accounts/me", { topics: ["account", "lease", "block"] });
  const [sending, setSending] = useState(false);
  return (
    <Page
      title="Wallet"
      subtitle={account.data && <Id of={account.data.owner} what="your owner id" whole />}
      subject={{ noun: "account" }}
      actions={
        <WriteButton kind="primary" onClick={() => setSending(true)}>
          Send…
        </WriteButton>
      }
    >
      {sending && account.data && <SendDialog account={account.data} onClose={() => setSending(false)} />}
      <Loaded of={account} what="the account">
        {(data) => (
          <>
            <div className="figures">
              <Figure label="Balance" {...caesFigure(data.balance)} note={`${caes(data.balance)} exactly`} />
              <Figure label="Bonded for nodes" {...caesFigure(data.bonded)} note="it backs the nodes' word" />
              <Figure label="In escrow" {...caesFigure(data.in_escrow)} note="set aside for open leases" />
              <Figure label="On the way back" {...caesFigure(data.unbonding)} note="from bonds" />
            </div>
            {data.anchor === "none" && <p className="muted">Test units: this network has no reserve, so they are worth nothing elsewhere.</p>}
            <Entries owner={data.owner} />
          </>
        )}
      </Loaded>
    </Page>
  );
}

function Entries({ owner }: { owner: string }) {
  const pages = Number(usePlace().query.get("pages") ?? 1);
  const entries = usePages<Entry>(`/v1/accounts/${owner}/entries`, pages, {
    topics: ["account", "lease", "block"],
    query: { limit: 50 },
  });
  return (
    <Section title="Why this balance" aside={<small>The sum of all lines is what you hold</small>}>
      <Loaded of={entries} what="the entries">
        {({ items, more }) =>
          items.length === 0 ? (
            <Empty icon="wallet" title="Nothing has moved yet" />
          ) : (
            <>
              <Table
                caption="Why this balance"
                rows={items}
                rowKey={(entry) => entry.sequence}
                columns={[
                  { title: "When", cell: (entry) => <Moment ms={entry.time_ms} /> },
                  { title: "What", cell: (entry) => <What entry={entry} />, wide: true },
                  { title: "Balance", cell: (entry) => <Signed amount={entry.change.balance} />, number: true },
                  { title: "Bonded", cell: (entry) => <Signed amount={sum(entry.change.bonded, entry.change.unbonding)} />, number: true },
                  { title: "Escrow", cell: (entry) => <Signed amount={entry.change.in_escrow} />, number: true },
                  { title: "Balance after", cell: (entry) => caes(entry.after.balance), number: true },
                  { title: "Block", cell: (entry) => <a href={link(`/blocks/${entry.height}`)}>{entry.height}</a>, number: true },
                ]}
              />
              <More more={more} onMore={() => amend({ pages: String(pages + 1) })} />
            </>
          )
        }
      </Loaded>
    </Section>
  );
}

function What({ entry }: { entry: Entry }) {
  const to = entry.lease ? link(`/leases/${entry.lease}`) : entry.tx ? link(`/transactions/${entry.tx}`) : null;
  return (
    <>
      {to ? <a href={to}>{entry.words}</a> : entry.words}
      {entry.memo && <small> “{entry.memo}”</small>}
    </>
  );
}

function Signed({ amount }: { amount: number | bigint }) {
  if (BigInt(amount) === 0n) return <span className="muted">0</span>;
  return <>{amount > 0 ? `+${caes(amount)}` : caes(amount)}</>;
}

function SendDialog({ account, onClose }: { account: Account; onClose: () => void }) {
  const [to, setTo] = useState("");
  const [text, setText] = useState("");
  const [memo, setMemo] = useState("");
  const { busy, problem, run } = useWrite();
  const amount = parseCaes(text);
  const rightTo = /^[0-9a-f]{64}$/.test(to);
  const tooMuch = amount !== null && BigInt(amount) > BigInt(account.balance);
  const send = (): Promise<void> =>
    run(async () => {
      await write("POST", "/v1/accounts/transfer", { to, amount, memo });
      announce(`${caes(amount ?? 0)} CAES sent`);
      touch("account");
      onClose();
    });
  return (
    <Dialog title="Send CAES" onClose={onClose}>
      <form className="stack" onSubmit={submitting(() => void send())}>
        <Field label="To (an owner's id)" wrong={to === "" || rightTo ? null : "64 hex digits"}>
          {(attributes) => <input {...attributes} data-first value={to} onChange={(event) => setTo(event.target.value.trim())} />}
        </Field>
        <Field label="CAES" hint={`${caes(account.balance)} are there`} wrong={text !== "" && !amount ? "An amount, such as 1.5" : tooMuch ? "More than is there" : null}>
          {(attributes) => <input {...attributes} inputMode="decimal" value={text} onChange={(event) => setText(event.target.value)} />}
        </Field>
        <Field label="Note" hint="on the ledger, for everybody to read">
          {(attributes) => <input {...attributes} maxLength={200} value={memo} onChange={(event) => setMemo(event.target.value)} />}
        </Field>
        <WriteProblem problem={problem} />
        <footer>
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <WriteButton type="submit" kind="primary" busy={busy} disabled={!amount || tooMuch || !rightTo}>
            Send
          </WriteButton>
        </footer>
      </form>
    </Dialog>
  );
}
