/** Big numbers, with how they were in the last hour. */
import type { ReactNode } from "react";
import { type Feed, feed, ring, tick } from "../live/feed.ts";
import { clockTime } from "../format.ts";
import { useStore } from "../store.ts";

interface FigureProps {
  label: string;
  value: ReactNode;
  unit?: string;
  /** The ring whose points are drawn below. */
  series?: string;
  note?: ReactNode;
}

const HOUR_MS = 3_600_000;
const SPARK_POINTS = 120;

export function Figure({ label, value, unit, series, note }: FigureProps) {
  return (
    <section className="card figure">
      <h2 className="label">{label}</h2>
      <p className="value live">
        {value} {unit && <span className="unit">{unit}</span>}
      </p>
      <small>{note}</small>
      {series && <Spark series={series} label={label} />}
      <StaleSince />
    </section>
  );
}

/** Says how old the figures are, where they are not live. */
export function StaleSince() {
  const now: Feed = useStore(feed);
  return now.state === "stale" ? <small>as of {clockTime(now.heardMs)}</small> : null;
}

function Spark({ series, label }: { series: string; label: string }) {
  useStore(tick);
  const all = ring(series).since(Date.now() - HOUR_MS);
  const points = thinned(all.values, SPARK_POINTS);
  if (points.length < 2) return <svg className="spark" aria-hidden="true" />;
  const low = Math.min(...points);
  const high = Math.max(...points);
  const height = (value: number): number => (high > low ? 30 - ((value - low) / (high - low)) * 26 : 17);
  const line = points
    .map((value, index) => `${((index / (points.length - 1)) * 100).toFixed(2)},${height(value).toFixed(2)}`)
    .join(" L");
  return (
    <svg className="spark" viewBox="0 0 100 32" preserveAspectRatio="none" role="img" aria-label={`${label}, up to the last hour`}>
      <path className="area" d={`M0,32 L${line} L100,32 Z`} />
      <path d={`M${line}`} />
    </svg>
  );
}

/** At most `most` values, the last of each stretch. */
export function thinned(values: Float64Array, most: number): number[] {
  const kept: number[] = [];
  const step = Math.max(1, values.length / most);
  for (let at = step; at <= values.length + 1e-9; at += step) {
    const value = values[Math.round(at) - 1] ?? NaN;
    if (!Number.isNaN(value)) kept.push(value);
  }
  return kept;
}
