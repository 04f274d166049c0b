// Elements: those that are there, and new ones.

export const the = (id) => document.getElementById(id);

export function node(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
