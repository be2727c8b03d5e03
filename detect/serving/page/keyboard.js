// Lists whose entries share one stop of the Tab key: the arrow keys, Home and End move between them.

const STEPS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };

// The entry of a list that Tab reaches. `entries` are elements that can have the focus.
export function setTabStop(entries, index) {
  entries.forEach((entry, i) => {
    entry.tabIndex = i === index ? 0 : -1;
  });
}

export function moveWithArrows(container, selector) {
  container.addEventListener("keydown", (event) => {
    const entries = [...container.querySelectorAll(selector)];
    const index = entries.indexOf(document.activeElement);
    const ends = { Home: 0, End: entries.length - 1 };
    const target = event.key in STEPS ? index + STEPS[event.key] : ends[event.key];
    if (index < 0 || target === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(target, entries.length - 1));
    setTabStop(entries, next);
    entries[next].focus();
  });
}
