/** Copying and downloading, and the short word that it happened. */

type Listener = (text: string) => void;
const listeners = new Set<Listener>();

/** Hears what was said; returns how to stop. */
export function onSaid(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** One line of plain text, whatever a name brings along: line breaks would forge lines, and marks of direction turn what follows. */
export function plainLine(text: string): string {
  return text.replace(/[\u202a-\u202e\u2066-\u2069\u200e\u200f]/g, '').replace(/[\s\p{Cc}]+/gu, ' ');
}

export function say(text: string): void {
  for (const listener of listeners) listener(text);
}

export async function copy(text: string, done: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    say(done);
  } catch {
    // Clipboards need a secure origin; a selected text works everywhere.
    if (copyBySelection(text)) say(done);
    else say('The browser forbids copying here');
  }
}

function copyBySelection(text: string): boolean {
  const area = document.createElement('textarea');
  area.value = text;
  area.className = 'off-page';
  document.body.append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  return copied;
}

export function download(name: string, text: string, type: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name.replace(/[^\w.-]+/g, '-').replace(/^-+/, '');
  link.click();
  URL.revokeObjectURL(url);
}
