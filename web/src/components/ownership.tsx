/** Whose an asset is: give it away, offer it, or buy it. */
import { useState } from "react";
import { write } from "../api/client.ts";
import { touch } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { caes, parseCaes } from "../format.ts";
import { Field, submitting, useWrite, WriteButton, WriteProblem } from "./form.tsx";
import { Empty } from "./feedback.tsx";
import { Card } from "./page.tsx";
import { State } from "./state.tsx";
import { Fact, Facts, Id, Moment } from "./text.tsx";
import { announce } from "./toast.tsx";

type Asset = Schemas["AssetView"];

const OWNER = /^[0-9a-f]{64}$/;

export function Ownership({ asset }: { asset: Asset }) {
  const { title } = asset;
  return (
    <>
      <Card title="Owner">
        <Facts>
          <Fact name="Owner">
            <Id of={asset.owner} what="the owner's id" whole />
          </Fact>
          <Fact name="Yours">{asset.owned ? "yes" : "no"}</Fact>
          <Fact name="On this machine">{asset.mine ? "yes" : "no"}</Fact>
        </Facts>
      </Card>
      {title && <OpenOffer asset={asset} title={title} />}
      {asset.owned && !title && (
        <div className="columns">
          <OfferForm asset={asset} />
          <TransferForm asset={asset} />
        </div>
      )}
      {!asset.owned && !title && (
        <Empty icon="lock" title="Not for sale">
          <p>Its owner may offer it; then you can buy it here.</p>
        </Empty>
      )}
    </>
  );
}

function OpenOffer({ asset, title }: { asset: Asset; title: Schemas["TitleOfferView"] }) {
  const { busy, problem, run } = useWrite();
  const path = `/assets/${asset.asset}`;
  const withdraw = (): Promise<void> =>
    run(async () => {
      await write("DELETE", `${path}/offer`);
      announce("The offer is withdrawn");
      touch("asset");
    });
  const accept = (): Promise<void> =>
    run(async () => {
      await write("POST", `${path}/accept`, { price: title.price });
      announce("The asset is yours");
      touch("asset");
    });
  return (
    <Card title="Offered for sale" aside={<State tone="busy">open</State>}>
      <div className="stack">
        <Facts>
          <Fact name="Price">{caes(title.price)} CAES</Fact>
          <Fact name="To">{title.to ? <Id of={title.to} what="the buyer's id" /> : "anybody"}</Fact>
          <Fact name="Until">
            <Moment ms={title.expires_ms} />
          </Fact>
        </Facts>
        <WriteProblem problem={problem} />
        <div className="row">
          {asset.owned ? (
            <WriteButton kind="danger" busy={busy} onClick={() => void withdraw()}>
              Withdraw the offer
            </WriteButton>
          ) : (
            <WriteButton kind="primary" busy={busy} onClick={() => void accept()}>
              {`Buy for ${caes(title.price)} CAES`}
            </WriteButton>
          )}
        </div>
      </div>
    </Card>
  );
}

function OfferForm({ asset }: { asset: Asset }) {
  const [price, setPrice] = useState("");
  const [to, setTo] = useState("");
  const { busy, problem, run } = useWrite();
  const amount = parseCaes(price);
  const rightTo = to === "" || OWNER.test(to);
  const offer = (): Promise<void> =>
    run(async () => {
      await write("POST", `/assets/${asset.asset}/offer`, { price: amount, ...(to && { to }) });
      announce("The asset is offered, for a day");
      touch("asset");
    });
  return (
    <Card title="Offer it">
      <form className="stack" onSubmit={submitting(() => void offer())}>
        <Field label="Price, CAES" wrong={price !== "" && !amount ? "CAES, such as 2.5" : null}>
          {(attributes) => <input {...attributes} value={price} onChange={(event) => setPrice(event.target.value)} />}
        </Field>
        <Field label="Only to (an owner's id)" hint="empty: to anybody" wrong={rightTo ? null : "64 hex digits"}>
          {(attributes) => <input {...attributes} value={to} onChange={(event) => setTo(event.target.value.trim())} />}
        </Field>
        <WriteProblem problem={problem} />
        <div className="row">
          <WriteButton type="submit" kind="primary" busy={busy} disabled={!amount || !rightTo}>
            Offer
          </WriteButton>
        </div>
      </form>
    </Card>
  );
}

function TransferForm({ asset }: { asset: Asset }) {
  const [to, setTo] = useState("");
  const [sure, setSure] = useState(false);
  const { busy, problem, run } = useWrite();
  const give = (): Promise<void> =>
    run(async () => {
      await write("POST", `/assets/${asset.asset}/transfer`, { to });
      announce("The asset has a new owner");
      touch("asset");
    });
  return (
    <Card title="Give it away">
      <form className="stack" onSubmit={submitting(() => void give())}>
        <Field label="To (an owner's id)" wrong={to === "" || OWNER.test(to) ? null : "64 hex digits"}>
          {(attributes) => <input {...attributes} value={to} onChange={(event) => setTo(event.target.value.trim())} />}
        </Field>
        <label className="check">
          <input type="checkbox" checked={sure} onChange={(event) => setSure(event.target.checked)} />
          Free of charge, and it cannot be taken back
        </label>
        <WriteProblem problem={problem} />
        <div className="row">
          <WriteButton type="submit" kind="danger" busy={busy} disabled={!sure || !OWNER.test(to)}>
            Give
          </WriteButton>
        </div>
      </form>
    </Card>
  );
}
