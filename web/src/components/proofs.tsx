/** The four proofs of a node as chips; each opens its evidence. */
import { amend, usePlace } from "../route.ts";
import { useRead } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { Loaded } from "./feedback.tsx";
import { Icon } from "./icon.tsx";
import { Card } from "./page.tsx";
import { State } from "./state.tsx";
import { Ago, Fact, Facts, Id } from "./text.tsx";
import { link } from "../route.ts";

type Evidence = Schemas["AttestationEvidence"];

export function Proofs({ node }: { node: string }) {
  const evidence = useRead<Evidence>(`/v1/nodes/${node}/attestation`, { topics: ["node"] });
  const opened = usePlace().query.get("proof");
  return (
    <Loaded of={evidence} what="the proofs">
      {(data) => {
        const { attestation } = data;
        const chosen = data.proofs.find((each) => each.proof === opened);
        return (
          <section className="stack" aria-label="Proofs">
            <p className="row">
              <State tone={attestation.in_force ? "good" : "warn"}>
                {attestation.in_force ? "four proofs in force" : "proofs not in force"}
              </State>
              <small>
                {attestation.attested_ms === null ? (
                  "This node never attested"
                ) : (
                  <>
                    verified by every node <Ago ms={attestation.attested_ms} />, epoch {attestation.epoch} (now {data.present_epoch})
                  </>
                )}
              </small>
            </p>
            {data.proofs.length > 0 && (
              <div className="chips">
                {data.proofs.map((proof) => (
                  <button
                    key={proof.proof}
                    type="button"
                    className="chip"
                    aria-expanded={proof === chosen}
                    onClick={() => amend({ proof: proof === chosen ? undefined : proof.proof })}
                  >
                    <strong>
                      <span className={proof.outcome === "refused" ? "warn" : "good"}>
                        <Icon name={proof.outcome === "refused" ? "warn" : "ok"} />
                      </span>
                      {proof.proof}
                    </strong>
                    <small>
                      {proof.says}: {proof.outcome}
                    </small>
                  </button>
                ))}
              </div>
            )}
            {chosen && <EvidenceCard proof={chosen} tx={data.tx} height={attestation.height} />}
          </section>
        );
      }}
    </Loaded>
  );
}

const OUTCOMES = { valid: "good", refused: "bad", recorded: "idle" } as const;

function EvidenceCard({ proof, tx, height }: { proof: Schemas["EvidenceView"]; tx: string | null; height: number | null }) {
  return (
    <Card title={`Proof of ${proof.proof}`} aside={<State tone={OUTCOMES[proof.outcome]}>{proof.outcome}</State>}>
      <div className="stack">
        {proof.reason && <p>{proof.reason}</p>}
        <Facts>
          <Fact name="Says">{proof.says}</Fact>
          <Fact name="Verifier">
            <span className="mono">{proof.verifier}</span>
          </Fact>
          {proof.facts.map((fact) => (
            <Fact key={fact.name} name={fact.name}>
              <span className="mono">{fact.value}</span>
            </Fact>
          ))}
          {tx && (
            <Fact name="Carried by">
              <Id of={tx} what="the transaction" href={link(`/transactions/${tx}`)} />
            </Fact>
          )}
          {height !== null && (
            <Fact name="Block">
              <a href={link(`/blocks/${height}`)}>{height}</a>
            </Fact>
          )}
        </Facts>
      </div>
    </Card>
  );
}
