/** What a job prints, as it comes: each question waits at the node until there is more. */
import { useEffect, useState } from "react";
import { asProblem, type Problem, read } from "../api/client.ts";
import type { Schemas } from "../api/types.ts";

const WAIT_MS = 10_000;
const PAUSE_MS = 1_000;
/** A page holds so much of each output; what came before is left out of it. */
const KEPT_CHARACTERS = 1 << 20;

export interface Output {
  stdout: string;
  stderr: string;
  cut: number;
  ended: boolean;
  problem: Problem | null;
}

const NOTHING: Output = { stdout: "", stderr: "", cut: 0, ended: false, problem: null };

export function useOutput(job: string): Output {
  const [output, setOutput] = useState(NOTHING);
  useEffect(() => {
    let current = true;
    void (async () => {
      let now = NOTHING;
      let [stdout, stderr] = [0, 0];
      setOutput(now);
      while (current && !now.ended) {
        try {
          const said = await read<Schemas["JobOutput"]>(`/v1/jobs/${job}/output`, { stdout, stderr, wait_ms: WAIT_MS });
          [stdout, stderr] = [said.stdout_next, said.stderr_next];
          now = {
            stdout: (now.stdout + said.stdout).slice(-KEPT_CHARACTERS),
            stderr: (now.stderr + said.stderr).slice(-KEPT_CHARACTERS),
            cut: said.stdout_cut_bytes + said.stderr_cut_bytes,
            ended: said.ended,
            problem: null,
          };
        } catch (error) {
          now = { ...now, problem: asProblem(error) };
          await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
        }
        if (current) setOutput(now);
      }
    })();
    return () => {
      current = false;
    };
  }, [job]);
  return output;
}
