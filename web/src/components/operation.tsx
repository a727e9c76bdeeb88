/** Operations of the ledger as sentences. */
import type { Operation } from "../api/types.ts";
import { link } from "../route.ts";
import { State } from "./state.tsx";
import { Ago } from "./text.tsx";

interface OperationLineProps {
  operation: Operation;
  /** Where no block stands beside it that has the time. */
  time_ms?: number;
  /** What the page is about: no link leads there. */
  about?: string;
}

export function OperationLine({ operation, time_ms, about }: OperationLineProps) {
  const refused = operation.code !== "ok";
  return (
    <li className="operation">
      <span className="type">{operation.type}</span>
      <p>
        {operation.tx ? <a href={link(`/transactions/${operation.tx}`)}>{operation.words}</a> : operation.words}
        {operation.asset && operation.asset !== about && (
          <>
            {" "}
            <a href={link(`/assets/${operation.asset}`)}>asset</a>
          </>
        )}
        {operation.lease && operation.lease !== about && (
          <>
            {" "}
            <a href={link(`/leases/${operation.lease}`)}>lease</a>
          </>
        )}
      </p>
      {time_ms !== undefined && (
        <small>
          <Ago ms={time_ms} />
        </small>
      )}
      {refused && <State tone="bad">{`refused: ${operation.refusal ?? operation.code}`}</State>}
    </li>
  );
}
