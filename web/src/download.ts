/** Have the browser save `value` as a JSON file. */
export function download(name: string, value: unknown): void {
  const place = URL.createObjectURL(new Blob([JSON.stringify(value)], { type: "application/json" }));
  const anchor = document.createElement("a");
  anchor.href = place;
  anchor.download = name;
  anchor.click();
  URL.revokeObjectURL(place);
}
