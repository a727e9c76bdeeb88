/** Operations of the ledger as sentences. */
import type { Operation } from "../api/types.ts";
import { link } from "../route.ts";
import { State } from "./state.tsx";

export function OperationLine({ operation }: { operation: Operation }) {
  const refused = operation.code !== "ok";
  return (
    <li className="operation">
      <span className="type">{operation.type}</span>
      <p>
        {operation.tx ? <a href={link(`/transactions/${operation.tx}`)}>{operation.words}</a> : operation.words}
        {operation.asset && (
          <>
            {" "}
            <a href={link(`/assets/${operation.asset}`)}>asset</a>
          </>
        )}
        {operation.lease && (
          <>
            {" "}
            <a href={link(`/leases/${operation.lease}`)}>lease</a>
          </>
        )}
      </p>
      {refused && <State tone="bad">{`refused: ${operation.refusal ?? operation.code}`}</State>}
    </li>
  );
}
