"use strict";
/** What every page does: the theme, scrolling regions, and what scripts of single pages build with. */
const page = (() => {
  const SVG = "http" + "://www.w3.org/2000/svg"; // a name, never loaded
  const byId = (id) => document.getElementById(id);

  /** An element with a class and text; all data goes through textContent. */
  function make(tag, name, text) {
    const node = document.createElement(tag);
    if (name) node.className = name;
    if (text !== undefined && text !== null) node.textContent = text;
    return node;
  }
  function draw(tag, attributes, text) {
    const node = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  }

  // Theme: the system's, and followed, until the button asks for the other one ----------------------------------
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const systemTheme = () => (system.matches ? "dark" : "light");
  const button = byId("theme");
  const other = () => ((root.dataset.theme || systemTheme()) === "dark" ? "light" : "dark");
  function nameTheme() {
    button.textContent = other() === "dark" ? "Dark" : "Light";
    button.setAttribute("aria-label", `Switch to the ${other()} theme`);
  }
  button.addEventListener("click", () => {
    const wanted = other();
    if (wanted === systemTheme()) delete root.dataset.theme;
    else root.dataset.theme = wanted;
    nameTheme();
  });
  system.addEventListener("change", () => {
    if (root.dataset.theme === systemTheme()) delete root.dataset.theme; // the system has caught up: follow it again
    nameTheme();
  });
  button.hidden = false;
  nameTheme();

  // Regions that scroll take the focus, so that keys scroll them; where all is in view, they need none ----------
  const regions = Array.from(document.querySelectorAll("[role=region][tabindex]"));
  const watch = new ResizeObserver((entries) => {
    for (const { target } of entries) fit(target);
  });
  function fit(region) {
    const scrolls = region.scrollWidth > region.clientWidth || region.scrollHeight > region.clientHeight;
    if (scrolls) region.tabIndex = 0;
    else region.removeAttribute("tabindex");
  }
  regions.forEach((region) => watch.observe(region));

  const collator = new Intl.Collator(undefined, { numeric: true });
  /**
   * Make the headings of a table buttons that sort its rows.
   * key(row, column) is a number, a text, or null, which stands last; downFirst(column) says which order comes first.
   * Where not all rows are in the table, list.items stands for them, and list.show(items) shows them in their order.
   * Returns a function that sorts again by the same heading.
   */
  function sortable(table, key, downFirst, list) {
    const body = table.tBodies[0];
    const items = list ? list.items : Array.from(body.rows);
    const show = list ? list.show : (sorted) => body.append(...sorted);
    const heads = Array.from(table.tHead.rows[0].cells);
    let order = { column: -1, down: false };
    function compare(a, b) {
      if (a === null || b === null) return (a === null) - (b === null);
      const up = typeof a === "number" ? a - b : collator.compare(a, b);
      return order.down ? -up : up;
    }
    function sort() {
      const keyed = items.map((item, index) => ({ item, index, key: order.column < 0 ? null : key(item, order.column) }));
      keyed.sort((a, b) => compare(a.key, b.key) || a.index - b.index);
      show(keyed.map((each) => each.item));
      heads.forEach((head, column) => {
        if (column !== order.column) head.removeAttribute("aria-sort");
        else head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      });
    }
    heads.forEach((head, column) => {
      const sorter = make("button", "", head.textContent);
      sorter.type = "button";
      head.replaceChildren(sorter);
      sorter.addEventListener("click", () => {
        order = { column, down: order.column === column ? !order.down : downFirst(column) };
        sort();
      });
    });
    return sort;
  }

  /** A dialog that its close button, Escape and a click beside it close. */
  function closable(dialog, close) {
    close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
  }

  return { byId, make, draw, sortable, closable };
})();
