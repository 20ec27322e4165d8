/**
 * The table of clips: sorted, filtered, and shown a page at a time where there are many.
 * Clips have numbers: first those with details, whose rows are in the page, then the others, whose rows are made when
 * they are shown.
 */
const clipTable = (data) => {
  const { byId, make } = page;
  const PAGE = 200; // rows: more take seconds to lay out
  const table = byId("clip-table");
  const body = table.tBodies[0];
  const heads = Array.from(table.tHead.rows[0].cells);
  const rows = Array.from(body.rows);
  const others = data.others || { ids: [], model: [], text: [], scores: [], flags: {} };
  const count = rows.length + others.ids.length;
  const hidden = new Set(); // columns
  let order = Array.from({ length: count }, (_, number) => number);
  let visible = order;
  let first = 0;

  // What is known of a clip without details, in the form of one with them ----------------------------------------
  const statuses = { e: "error", s: "skipped" };
  const flags = new Map();
  for (const [title, indices] of Object.entries(others.flags)) {
    for (const index of indices) flags.set(index, [...(flags.get(index) || []), title]);
  }
  function brief(index) {
    const text = others.texts[others.text[index]];
    const scores = data.metrics.map((metric, i) => {
      const value = others.scores[i][index];
      if (value === null) return null;
      return value in statuses ? [null, "", statuses[value], ""] : [value, value.toFixed(metric.decimals), "ok", ""];
    });
    return {
      id: others.ids[index], model: others.models[others.model[index]], flags: flags.get(index) || [], scores, brief: true,
      texts: text ? [["Prompt", text]] : [], metadata: [], problem: "", video: null, audio: null, timeline: null, faces: null, words: null,
    };
  }
  const clip = (number) => data.clips[number] || (number < count ? brief(number - rows.length) : undefined);
  function stateOf(number) {
    if (data.clips[number]) return rows[number].dataset.state.split(" ");
    const index = number - rows.length;
    const states = others.scores.map((values) => statuses[values[index]]).filter(Boolean);
    return flags.has(index) ? [...found, "flagged"] : states;
  }
  function makeRow(number) {
    const known = clip(number);
    const row = make("tr");
    row.dataset.row = number;
    row.append(...heads.map((head) => makeCell(head, known, number)));
    return row;
  }
  function makeCell(head, known, number) {
    if (head.dataset.metric !== undefined) {
      const score = known.scores[head.dataset.metric];
      if (!score) return make("td", "num", "–");
      if (score[2] === "error") return make("td", "num bad", "error");
      return score[2] === "ok" ? make("td", "num", score[1]) : make("td", "num quiet", "–");
    }
    if (head.dataset.key === "model") return make("td", "word", known.model);
    const cell = make(head.dataset.key === "id" ? "th" : "td", head.dataset.key === "id" ? "text" : "text quiet");
    const text = make("bdi", "", head.dataset.key === "id" ? known.id : (known.texts[0] || ["", ""])[1]);
    if (head.dataset.key === "id") {
      cell.scope = "row";
      const link = make("a");
      link.href = `#clip-${number}`;
      link.append(text);
      cell.append(link);
    } else cell.append(text);
    return cell;
  }

  // What is shown ---------------------------------------------------------------------------------------------
  function sortKey(number, column) {
    const { metric, key } = heads[column].dataset;
    const known = data.clips[number];
    const index = number - rows.length;
    if (metric !== undefined) {
      if (!known) return typeof others.scores[metric][index] === "number" ? others.scores[metric][index] : null;
      const score = known.scores[metric];
      return score && score[2] === "ok" ? score[0] : null;
    }
    if (key === "id") return known ? known.id : others.ids[index];
    if (key === "model") return known ? known.model : others.models[others.model[index]];
    return (known ? (known.texts[0] || [])[1] : others.texts[others.text[index]]) || null;
  }
  let texts = null; // of all clips, in lower case: made when they are first searched
  function textOf(number) {
    const known = data.clips[number];
    const index = number - rows.length;
    if (!known) return `${others.ids[index]}\n${others.models[others.model[index]]}\n${others.texts[others.text[index]]}`;
    return [known.id, known.model, ...known.texts.map((pair) => pair[1])].join("\n");
  }
  function filter() {
    const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const state = byId("state").value;
    if (words.length && !texts) texts = Array.from({ length: count }, (_, number) => textOf(number).toLowerCase());
    visible = order.filter(
      (number) => words.every((word) => texts[number].includes(word)) && (!state || stateOf(number).includes(state)),
    );
    const whole = count.toLocaleString("en");
    const matching = visible.length.toLocaleString("en");
    byId("matches").textContent = visible.length === count ? `${whole} clips` : `${matching} of ${whole} clips`;
    turn(0);
  }
  /** Show the page that begins with this one of the visible clips. */
  function turn(start) {
    first = start;
    const shown = count > PAGE && data.others ? visible.slice(first, first + PAGE) : visible;
    const made = shown.map((number) => rows[number] || makeRow(number));
    for (const row of made) heads.forEach((_, column) => (row.cells[column].hidden = hidden.has(column)));
    body.replaceChildren(...made);
    byId("pages").hidden = shown.length === visible.length;
    byId("page-back").disabled = first === 0;
    byId("page-on").disabled = first + PAGE >= visible.length;
    byId("page-rows").textContent = `${(first + 1).toLocaleString("en")} to ${(first + shown.length).toLocaleString("en")}`;
  }
  function chooseColumns() {
    heads.forEach((head, column) => {
      if (head.dataset.metric === undefined) return;
      const label = make("label");
      const box = make("input");
      box.type = "checkbox";
      box.checked = true;
      box.addEventListener("change", () => {
        head.hidden = !box.checked;
        if (box.checked) hidden.delete(column);
        else hidden.add(column);
        turn(first);
      });
      label.append(box, " ", data.metrics[head.dataset.metric].name);
      byId("columns").append(label);
    });
  }

  page.sortable(table, sortKey, (column) => heads[column].dataset.metric !== undefined, {
    items: order,
    show(sorted) {
      order = sorted;
      filter();
    },
  });
  byId("tools").hidden = false;
  byId("filter").addEventListener("input", filter);
  byId("state").addEventListener("change", filter);
  for (const [id, by] of [["page-back", -PAGE], ["page-on", PAGE]]) {
    byId(id).addEventListener("click", () => {
      turn(first + by);
      table.parentElement.scrollTop = 0;
    });
  }
  chooseColumns();
  filter();

  return {
    clip,
    /** The neighbour of a clip in the table as it is sorted and filtered now. */
    beside: (number, by) => visible[(visible.indexOf(number) + by + visible.length) % visible.length],
  };
};
