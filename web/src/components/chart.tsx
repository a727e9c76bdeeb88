/** Figures over time, drawn from rings at the stream's own pace. Each chart stands beside a table
 * with the same figures. */
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { feed, ring, tick } from "../live/feed.ts";
import { aligned } from "../live/ring.ts";
import { colour, onColours } from "../theme.ts";

export interface Series {
  ring: string;
  label: string;
}

interface ChartProps {
  title: string;
  unit: string;
  series: readonly Series[];
  windowMs?: number;
}

const HEIGHT = 210;
const DASHES = [[], [6, 4], [2, 3]];
const COLOURS = ["series-1", "series-2", "series-3"];

export default function Chart({ title, unit, series, windowMs = 120_000 }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const key = series.map((each) => `${each.ring}=${each.label}`).join(" ");
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    let plot: uPlot | undefined;
    const data = (): uPlot.AlignedData => aligned(series.map((each) => ring(each.ring)), Date.now() - windowMs);
    const build = (): void => {
      plot?.destroy();
      plot = new uPlot(options(element.clientWidth, unit, series), data(), element);
    };
    build();
    const leaveTicks = tick.subscribe(() => {
      if (feed.get().state === "live") plot?.setData(data());
    });
    const leaveColours = onColours(build);
    const resized = new ResizeObserver(() => plot?.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    return () => {
      leaveTicks();
      leaveColours();
      resized.disconnect();
      plot?.destroy();
    };
  }, [key, unit, windowMs]);
  return (
    <figure>
      <figcaption className="row spread">
        <strong>{title}</strong>
        <span className="legend">
          {series.map((each, index) => (
            <span key={each.ring}>
              <i className={`swatch ${["", "second", "third"][index] ?? ""}`} />
              {each.label}
            </span>
          ))}
        </span>
      </figcaption>
      <div className="chart" ref={box} aria-hidden="true" />
    </figure>
  );
}

function options(width: number, unit: string, series: readonly Series[]): uPlot.Options {
  const axis = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 } };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_, __, high) => [0, Number.isFinite(high) && high > 0 ? high * 1.15 : 1] } },
    axes: [
      { ...axis, values: (_, splits) => splits.map((each) => new Date(each * 1000).toLocaleTimeString("en-GB")), space: 90 },
      { ...axis, size: 74, values: (_, splits) => splits.map((each) => `${Number(each.toPrecision(4))} ${unit}`) },
    ],
    series: [
      {},
      ...series.map((each, index) => ({
        label: each.label,
        stroke: colour(COLOURS[index % COLOURS.length] ?? "series-1"),
        dash: DASHES[index % DASHES.length] ?? [],
        width: 2,
        points: { show: false },
        spanGaps: false,
      })),
    ],
  };
}
