/** Files sent to other nodes, files that came, and who may send. */
import { useState } from "react";
import { read, write } from "../api/client.ts";
import { touch, usePages, useRead } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { Dialog } from "../components/dialog.tsx";
import { Empty, Loaded, NoPermission } from "../components/feedback.tsx";
import { Field, submitting, useMayWrite, useWrite, WriteButton, WriteProblem } from "../components/form.tsx";
import { Meter } from "../components/meter.tsx";
import { Page } from "../components/page.tsx";
import { StateOf } from "../components/state.tsx";
import { More, Table } from "../components/table.tsx";
import { Tabs } from "../components/tabs.tsx";
import { Ago, Command, Id } from "../components/text.tsx";
import { announce } from "../components/toast.tsx";
import { download } from "../download.ts";
import { bytes, parseBytes } from "../format.ts";
import { amend, link, usePlace } from "../route.ts";

type Transfer = Schemas["TransferView"];
type Received = Schemas["ReceivedView"];
type Sender = Schemas["SenderView"];

const MOVING = ["queued", "sending", "waiting"];
/** What is on its way is read anew so often, and what has come. */
const SENT_MS = 1_000;
const CAME_MS = 5_000;
const SENDER_BYTES = "1GiB";

export function FilesPage() {
  const { query } = usePlace();
  const may = useMayWrite();
  const [sending, setSending] = useState(false);
  const came = query.get("tab") === "received" || query.get("tab") === "senders";
  return (
    <Page
      title="Files"
      subtitle="From machine to machine, whole or not at all"
      subject={{ noun: came ? "inbox" : "transfers" }}
      actions={
        <WriteButton kind="primary" onClick={() => setSending(true)}>
          Send a file…
        </WriteButton>
      }
    >
      {sending && <SendDialog onClose={() => setSending(false)} />}
      {may ? (
        <Tabs
          label="Which files"
          tabs={[
            { name: "sent", label: "Sent", content: () => <Sent /> },
            { name: "received", label: "Received", content: () => <Inbox /> },
            { name: "senders", label: "Who may send", content: () => <Senders /> },
          ]}
        />
      ) : (
        <NoPermission title="Files are yours alone">The node shows what it sends and receives only to whoever has its token.</NoPermission>
      )}
    </Page>
  );
}

/** How many pages of the list are unrolled, as the URL says. */
function useUnrolled(): number {
  return Number(usePlace().query.get("pages") ?? 1);
}

function Sent() {
  const pages = useUnrolled();
  const sent = usePages<Transfer>("/v1/transfers", pages, { query: { limit: 50 }, everyMs: SENT_MS });
  return (
    <Loaded of={sent} what="the files sent">
      {({ items, more }) =>
        items.length === 0 ? (
          <Empty icon="files" title="Nothing was sent yet">
            <p>Send a file of the node's machine here, or from a shell:</p>
            <Command>hm send results.csv bob</Command>
          </Empty>
        ) : (
          <>
            <Table
              caption="Files sent"
              rows={items}
              rowKey={(each) => each.transfer}
              columns={[
                { title: "File", cell: (each) => <Named transfer={each} />, wide: true },
                { title: "To", cell: (each) => <a href={link(`/nodes/${each.to}`)}>{each.to_name}</a> },
                { title: "State", cell: (each) => <StateOf state={each.state} /> },
                { title: "Progress", cell: (each) => <Progress transfer={each} /> },
                { title: "Sent over", cell: (each) => bytes(each.moved), number: true },
                { title: "Submitted", cell: (each) => <Ago ms={each.submitted_ms} /> },
                { title: "Actions", cell: (each) => <SentActions transfer={each} /> },
              ]}
            />
            <More more={more} onMore={() => amend({ pages: String(pages + 1) })} />
          </>
        )
      }
    </Loaded>
  );
}

function Named({ transfer }: { transfer: Transfer }) {
  const { problem } = transfer;
  return (
    <>
      <span title={transfer.path}>{transfer.name}</span>
      {problem && transfer.state !== "done" && (
        <small>
          {" "}
          {problem.detail}
          {problem.fix && `. What to do: ${problem.fix}`}
        </small>
      )}
    </>
  );
}

function Progress({ transfer }: { transfer: Transfer }) {
  if (transfer.state === "done") return <>{bytes(transfer.size)}</>;
  return <Meter label={`Progress of ${transfer.name}`} name="" used={transfer.done} of={transfer.size} words={`${bytes(transfer.done)} of ${bytes(transfer.size)}`} />;
}

function SentActions({ transfer }: { transfer: Transfer }) {
  const { busy, problem, run } = useWrite();
  const cancel = (): Promise<void> =>
    run(async () => {
      await write("DELETE", `/v1/transfers/${transfer.transfer}`);
      announce(`Sending ${transfer.name} is cancelled`);
      touch();
    });
  if (transfer.state === "done") return <ProofButton name={transfer.name} path={`/v1/transfers/${transfer.transfer}/proof`} />;
  if (!MOVING.includes(transfer.state)) return null;
  return (
    <>
      <WriteButton kind="small" busy={busy} onClick={() => void cancel()}>
        Cancel
      </WriteButton>
      <WriteProblem problem={problem} />
    </>
  );
}

/** Saves the document that `hm verify` checks. */
function ProofButton({ name, path }: { name: string; path: string }) {
  const { busy, problem, run } = useWrite();
  const save = (): Promise<void> => run(async () => download(`${name}.delivery.json`, await read<Schemas["DeliveryDocument"]>(path)));
  return (
    <>
      <button type="button" className="button small" disabled={busy} onClick={() => void save()}>
        Save the proof<span className="hidden"> of {name}</span>
      </button>
      <WriteProblem problem={problem} />
    </>
  );
}

function Inbox() {
  const pages = useUnrolled();
  const inbox = usePages<Received>("/v1/inbox", pages, { query: { limit: 50 }, everyMs: CAME_MS });
  return (
    <Loaded of={inbox} what="the files received">
      {({ items, more }) =>
        items.length === 0 ? (
          <Empty icon="files" title="Nothing has come yet">
            <p>Your own nodes may send here at once; others after you have said so under “Who may send”.</p>
          </Empty>
        ) : (
          <>
            <Table
              caption="Files received"
              rows={items}
              rowKey={(each) => each.transfer}
              columns={[
                { title: "File", cell: (each) => <span title={each.path}>{each.name}</span>, wide: true },
                { title: "From", cell: (each) => <a href={link(`/nodes/${each.sender}`)}>{each.sender_name}</a> },
                { title: "Size", cell: (each) => bytes(each.size), number: true },
                { title: "BLAKE3", cell: (each) => <Id of={each.root} what="the digest" /> },
                { title: "Proof", cell: (each) => (each.is_countersigned ? "signed by both" : "signed here") },
                { title: "Came", cell: (each) => <Ago ms={each.received_ms} /> },
                {
                  title: "Actions",
                  cell: (each) => each.is_countersigned && <ProofButton name={each.name} path={`/v1/inbox/${each.transfer}/proof`} />,
                },
              ]}
            />
            <More more={more} onMore={() => amend({ pages: String(pages + 1) })} />
          </>
        )
      }
    </Loaded>
  );
}

function Senders() {
  const senders = useRead<Schemas["SenderPage"]>("/v1/inbox/senders", { everyMs: CAME_MS });
  return (
    <>
      <AllowForm />
      <Loaded of={senders} what="who may send">
        {({ items }) =>
          items.length === 0 ? (
            <Empty icon="people" title="Your own nodes alone may send files here" />
          ) : (
            <Table
              caption="Who may send"
              rows={items}
              rowKey={(each) => each.owner}
              columns={[
                { title: "Owner", cell: (each) => <Id of={each.owner} what="the owner's id" />, wide: true },
                { title: "At most here", cell: (each) => bytes(each.bytes_max), number: true },
                { title: "Actions", cell: (each) => <DenyButton sender={each} /> },
              ]}
            />
          )
        }
      </Loaded>
    </>
  );
}

function DenyButton({ sender }: { sender: Sender }) {
  const { busy, problem, run } = useWrite();
  const deny = (): Promise<void> =>
    run(async () => {
      await write("DELETE", `/v1/inbox/senders/${sender.owner}`);
      announce("This owner may send nothing here any more");
      touch();
    });
  return (
    <>
      <WriteButton kind="small" busy={busy} onClick={() => void deny()}>
        Take no more
      </WriteButton>
      <WriteProblem problem={problem} />
    </>
  );
}

function AllowForm() {
  const [owner, setOwner] = useState("");
  const [text, setText] = useState(SENDER_BYTES);
  const { busy, problem, run } = useWrite();
  const bytes_max = parseBytes(text);
  const right = /^[0-9a-f]{64}$/.test(owner);
  const allow = (): Promise<void> =>
    run(async () => {
      await write("PUT", `/v1/inbox/senders/${owner}`, { bytes_max });
      announce("This owner may send files here");
      setOwner("");
      touch();
    });
  return (
    <form className="filters" onSubmit={submitting(() => void allow())}>
      <Field label="Take files of (an owner's id)" wrong={owner === "" || right ? null : "64 hex digits"}>
        {(attributes) => <input {...attributes} value={owner} onChange={(event) => setOwner(event.target.value.trim())} />}
      </Field>
      <Field label="At most" hint="of all that is here of them" wrong={bytes_max ? null : "Say, 10GiB"}>
        {(attributes) => <input {...attributes} value={text} onChange={(event) => setText(event.target.value)} />}
      </Field>
      <WriteButton type="submit" busy={busy} disabled={!right || !bytes_max}>
        Allow
      </WriteButton>
      <WriteProblem problem={problem} />
    </form>
  );
}

function SendDialog({ onClose }: { onClose: () => void }) {
  const nodes = useRead<{ items: Schemas["NodeView"][] }>("/v1/nodes", { query: { limit: 200 } });
  const others = nodes.data?.items.filter((each) => !each.here && !each.revoked) ?? [];
  const [path, setPath] = useState("");
  const [chosen, setChosen] = useState("");
  const to = chosen || others[0]?.node || "";
  const { busy, problem, run } = useWrite();
  const rightPath = path.startsWith("/");
  const send = (): Promise<void> =>
    run(async () => {
      await write("POST", "/v1/transfers", { path, to });
      announce("The file is on its way");
      touch();
      onClose();
    });
  return (
    <Dialog title="Send a file" onClose={onClose}>
      <form className="stack" onSubmit={submitting(() => void send())}>
        <Field label="File" hint="its whole path on the machine of this node" wrong={path === "" || rightPath ? null : "It begins with /"}>
          {(attributes) => <input {...attributes} data-first value={path} onChange={(event) => setPath(event.target.value)} />}
        </Field>
        <Field label="To" hint={nodes.data && others.length === 0 ? "There is no other node yet" : "its owner must take files of yours"}>
          {(attributes) => (
            <select {...attributes} value={to} onChange={(event) => setChosen(event.target.value)}>
              {others.map((each) => (
                <option key={each.node} value={each.node}>
                  {each.name}
                </option>
              ))}
            </select>
          )}
        </Field>
        <WriteProblem problem={problem} />
        <footer>
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <WriteButton type="submit" kind="primary" busy={busy} disabled={!rightPath || !to}>
            Send
          </WriteButton>
        </footer>
      </form>
    </Dialog>
  );
}
