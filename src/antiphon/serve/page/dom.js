// Finds and creates elements.

export const the = (id) => document.getElementById(id);

export function node(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
