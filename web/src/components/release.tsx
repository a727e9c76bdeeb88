/** End a lease now, after a question. */
import { useState } from "react";
import { write } from "../api/client.ts";
import { touch } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { caes, sum, units } from "../format.ts";
import { Dialog } from "./dialog.tsx";
import { useWrite, WriteButton, WriteProblem } from "./form.tsx";
import { announce } from "./toast.tsx";

type Lease = Schemas["LeaseView"];

export function ReleaseButton({ lease, onReleased }: { lease: Lease; onReleased?: () => void }) {
  const [open, setOpen] = useState(false);
  const { busy, problem, run } = useWrite();
  if (lease.paid !== null) return null;
  const release = (): Promise<void> =>
    run(async () => {
      const settled = await write<Lease>("DELETE", `/assets/${lease.asset}/release`, undefined, { lease: lease.lease });
      announce(`Settled: paid ${caes(sum(settled.paid, settled.fee))} CAES, ${caes(settled.refund ?? 0)} came back`);
      touch("lease");
      setOpen(false);
      onReleased?.();
    });
  return (
    <>
      <WriteButton kind="danger" onClick={() => setOpen(true)}>
        Release…
      </WriteButton>
      {open && (
        <Dialog title="Release this lease?" onClose={() => setOpen(false)}>
          <div className="stack">
            <p>
              {units(lease.amount, lease.kind)} of {lease.provider_name || "its host"} {lease.kind === "memory" ? "are given back and their bytes are gone" : "are given back"}. The use so far is paid, and the rest of {caes(lease.escrow)} CAES
              comes back.
            </p>
            <WriteProblem problem={problem} />
            <footer>
              <button type="button" className="button" onClick={() => setOpen(false)} data-first>
                Keep it
              </button>
              <WriteButton kind="danger" busy={busy} onClick={() => void release()}>
                Release
              </WriteButton>
            </footer>
          </div>
        </Dialog>
      )}
    </>
  );
}
