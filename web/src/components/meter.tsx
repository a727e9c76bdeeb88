/** How full something is: a bar, and the same in words. */
import type { ReactNode } from "react";
import { kindName, units } from "../format.ts";
import { link } from "../route.ts";
import { KindIcon } from "./icon.tsx";

interface MeterProps {
  label: string;
  /** Shown in place of the label. */
  name?: ReactNode;
  used: number;
  of: number;
  words: string;
}

export function Meter({ label, name, used, of, words }: MeterProps) {
  const share = of > 0 ? Math.min(1, Math.max(0, used / of)) : 0;
  return (
    <div className="meter">
      <div className="row spread">
        <span>{name ?? label}</span>
        <small className="live">{words}</small>
      </div>
      <div className="track" role="meter" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(share * 100)} aria-valuetext={words}>
        <div className="fill" style={{ width: `${share * 100}%` }} />
      </div>
    </div>
  );
}

interface Measured {
  asset: string;
  kind: string;
  capacity: number | null;
  free: number | null;
}

/** How much of an asset is leased. */
export function AssetMeter({ asset }: { asset: Measured }) {
  const label = kindName(asset.kind);
  const name = (
    <>
      <KindIcon kind={asset.kind} /> <a href={link(`/assets/${asset.asset}`)}>{label}</a>
    </>
  );
  if (asset.capacity === null || asset.free === null) {
    return (
      <div className="row spread">
        <span>{name}</span>
        <small>Its host does not show how full it is</small>
      </div>
    );
  }
  const used = asset.capacity - asset.free;
  return (
    <Meter label={label} name={name} used={used} of={asset.capacity} words={`${units(used, asset.kind)} of ${units(asset.capacity, asset.kind)} leased`} />
  );
}
