// Finds and creates elements.

export const the = (id) => document.getElementById(id);

/** Let the user keep `content` as a file. */
export function download(content, name, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  node("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Put `text` on the clipboard, which browsers lend only to https pages and localhost; elsewhere by selecting it. */
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = node("textarea", { value: text });
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

export function node(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
