/** A table that scrolls sideways by itself where it is too wide. */
import type { ReactNode } from "react";

export interface Column<T> {
  title: string;
  cell: (row: T) => ReactNode;
  number?: boolean;
  wide?: boolean;
}

interface TableProps<T> {
  caption: string;
  columns: readonly Column<T>[];
  rows: readonly T[];
  rowKey: (row: T) => string | number;
}

export function Table<T>({ caption, columns, rows, rowKey }: TableProps<T>) {
  return (
    <div className="scroll" role="region" aria-label={caption} tabIndex={0}>
      <table>
        <caption className="hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.title} scope="col" className={column.number ? "number" : undefined}>
                {column.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={rowKey(row)}>
              {columns.map((column) => (
                <td key={column.title} className={column.number ? "number" : column.wide ? "wide" : undefined}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The end of a list that goes on; how far it is unrolled is in the URL. */
export function More({ more, onMore }: { more: boolean; onMore: () => void }) {
  if (!more) return null;
  return (
    <p className="row">
      <button type="button" className="button" onClick={onMore}>
        Show more
      </button>
    </p>
  );
}
