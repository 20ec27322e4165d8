(() => {
  const { byId, make, draw } = page;
  const data = JSON.parse(byId("board-data").textContent);
  const table = byId("board");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  const FIRST = heads.findIndex((head) => head.dataset.column !== undefined);
  const plain = rows.map((row) => Array.from(row.cells, (cell) => (cell.querySelector("bdi") || cell).textContent.trim()));
  const words = rows.map((row) => row.textContent.toLowerCase());

  /** What stands in a cell of a number, in an element that can be hidden and marked. */
  function valueOf(row, column) {
    const cell = rows[row].cells[FIRST + column];
    if (!cell.querySelector(".v") && data.rows[row].cells[column]) {
      const value = make("span", "v", cell.firstChild.textContent);
      cell.firstChild.replaceWith(value);
    }
    return cell.querySelector(".v");
  }

  // Numbers ---------------------------------------------------------------------------------------------------
  const number = (row, column) => {
    const cell = data.rows[row].cells[column];
    return cell && cell[0] !== null ? Number(cell[0]) : null;
  };
  const places = (text) => (text.split(".")[1] || "").length;
  const comparable = (a, b, column) =>
    data.rows[a].scope === data.rows[b].scope && data.rows[a].cells[column][5] === data.rows[b].cells[column][5];
  /** How a row differs from its baseline in a column; null where nothing can be said. */
  function difference(row, base, column) {
    const a = number(row, column);
    const b = number(base, column);
    if (a === null || b === null) return null;
    const digits = Math.max(places(data.rows[row].cells[column][0]), places(data.rows[base].cells[column][0]));
    const delta = Number((a - b).toFixed(digits));
    const sign = delta > 0 ? "+" : "";
    const direction = data.columns[column][3];
    const better = delta === 0 || direction === "none" ? null : delta > 0 === (direction === "higher");
    return {
      absolute: sign + delta.toFixed(digits),
      percent: b === 0 || delta === 0 ? "" : `${sign}${((100 * delta) / Math.abs(b)).toFixed(1)} %`,
      better,
      across: !comparable(row, base, column),
    };
  }

  // State -----------------------------------------------------------------------------------------------------
  const controls = ["benchmark", "backbone", "method", "provenance", "columns", "baseline", "show", "across", "search"];
  const FIELDS = { backbone: 1, method: 2, benchmark: 3 };
  let shown = rows.map((_, i) => i);

  const baseOf = (row) => {
    const choice = byId("baseline").value;
    return choice === "" ? -1 : choice === "base" ? data.rows[row].base : Number(choice);
  };
  function inGroup(column) {
    const group = byId("columns").value;
    return !group || data.columns[column][2] === group;
  }
  function matches(row) {
    if (byId("provenance").value && rows[row].dataset.provenance !== byId("provenance").value) return false;
    for (const [id, place] of Object.entries(FIELDS)) if (byId(id).value && plain[row][place] !== byId(id).value) return false;
    return words[row].includes(byId("search").value.trim().toLowerCase());
  }

  function update() {
    const columns = data.columns.map((_, i) => i).filter(inGroup);
    shown = rows.map((_, i) => i).filter((i) => matches(i) && columns.some((c) => data.rows[i].cells[c]));
    const used = new Set(columns.filter((c) => shown.some((i) => data.rows[i].cells[c])));
    const visible = new Set(shown);
    heads.slice(FIRST).forEach((head, c) => (head.hidden = !used.has(c)));
    rows.forEach((row, i) => {
      row.hidden = !visible.has(i);
      if (row.hidden) return;
      row.classList.toggle("baseline", byId("baseline").value !== "" && baseOf(i) === i);
      for (let c = 0; c < data.columns.length; c += 1) {
        const cell = row.cells[FIRST + c];
        cell.hidden = !used.has(c);
        if (!cell.hidden && data.rows[i].cells[c]) compareCell(cell, i, c);
      }
    });
    mark(used);
    byId("count").textContent = `${shown.length} of ${rows.length} rows`;
    drawSlopes(used);
  }

  function compareCell(cell, row, column) {
    cell.querySelector(".diff")?.remove();
    const base = baseOf(row);
    const change = base < 0 || base === row ? null : difference(row, base, column);
    const wanted = change && (!change.across || byId("across").checked);
    const mode = byId("show").value;
    valueOf(row, column).hidden = Boolean(wanted) && mode !== "both";
    if (!wanted) return;
    const arrow = change.better === null ? "" : change.better ? " ▲" : " ▼";
    const text = mode === "percent" ? change.percent || change.absolute : mode === "absolute" ? change.absolute
      : change.absolute + (change.percent ? ` (${change.percent})` : "");
    const note = make("span", "diff", text + arrow);
    if (change.better !== null) note.classList.add(change.better ? "better" : "worse");
    if (change.across) note.classList.add("across");
    cell.append(note);
  }

  /** Best and second among the rows shown, where all of them can be compared. */
  function mark(used) {
    for (const node of body.querySelectorAll(".best, .second")) node.classList.remove("best", "second");
    for (const c of used) {
      const rivals = shown.filter((i) => number(i, c) !== null && data.texts[data.rows[i].cells[c][2]] !== "conflicting");
      const direction = data.columns[c][3];
      if (new Set(rivals.map((i) => number(i, c))).size < 2 || direction === "none" || !rivals.every((i) => comparable(i, rivals[0], c))) continue;
      const values = [...new Set(rivals.map((i) => number(i, c)))].sort((a, b) => (direction === "higher" ? b - a : a - b));
      for (const i of rivals) {
        const index = values.indexOf(number(i, c));
        if (index < 2) valueOf(i, c).classList.add(index ? "second" : "best");
      }
    }
  }

  // Sorting ---------------------------------------------------------------------------------------------------
  function sortKey(row, index) {
    if (index < FIRST) return plain[row][index].toLowerCase();
    const column = index - FIRST;
    const base = baseOf(row);
    if (byId("show").value === "both" || base < 0) return number(row, column);
    const change = base === row ? null : difference(row, base, column);
    if (!change || (change.across && !byId("across").checked)) return null;
    return Number.parseFloat(byId("show").value === "percent" && change.percent ? change.percent : change.absolute);
  }
  const sort = page.sortable(
    table,
    (row, place) => sortKey(Number(row.dataset.row), place),
    (place) => place >= FIRST && data.columns[place - FIRST][3] === "higher", // the best first
  );

  // Slopes ----------------------------------------------------------------------------------------------------
  function drawSlopes(used) {
    const menu = byId("slope-metric");
    const kept = menu.value;
    const usable = [...used].filter((c) => shown.some((i) => slope(i, c)));
    menu.replaceChildren(...usable.map((c) => {
      const option = make("option", "", data.columns[c][1]);
      option.value = String(c);
      return option;
    }));
    if (usable.some((c) => String(c) === kept)) menu.value = kept;
    const column = menu.value === "" ? -1 : Number(menu.value);
    const lines = column < 0 ? [] : shown.filter((i) => slope(i, column));
    byId("slope-chart").replaceChildren(lines.length ? chart(lines, column) : "None of these rows has a base model to start from.");
  }
  function slope(row, column) {
    const base = data.rows[row].base;
    const change = base >= 0 && base !== row ? difference(row, base, column) : null;
    return change && !change.across ? change : null;
  }
  function chart(lines, column) {
    const values = lines.flatMap((i) => [number(i, column), number(data.rows[i].base, column)]);
    const low = Math.min(...values);
    const high = Math.max(...values);
    const right = spread(lines.map((i) => [number(i, column), i]), low, high);
    const bases = [...new Set(lines.map((i) => data.rows[i].base))];
    const left = spread(bases.map((i) => [number(i, column), i]), low, high);
    const height = Math.max(240, 40 + 14 * Math.max(right.length, left.length));
    const y = (value) => (high === low ? height / 2 : height - 20 - ((value - low) / (high - low)) * (height - 50));
    fit(right, y, height);
    fit(left, y, height);
    const svg = draw("svg", { viewBox: `0 0 980 ${height}`, role: "img", "aria-label": `${data.columns[column][1]}: from base model to method` });
    svg.append(draw("text", { class: "head", x: 340, y: 14, "text-anchor": "end" }, "base model"), draw("text", { class: "head", x: 520, y: 14 }, data.columns[column][1]));
    const scopes = [...new Set(lines.map((i) => data.rows[i].scope))];
    for (const item of left) {
      svg.append(draw("line", { class: "join", x1: 344, y1: item.y, x2: 360, y2: y(item.value) }));
      svg.append(draw("text", { x: 340, y: item.y + 4, "text-anchor": "end" }, name(item.row, column)));
    }
    for (const item of right) {
      const base = number(data.rows[item.row].base, column);
      const colour = `s${scopes.indexOf(data.rows[item.row].scope) % 8}`;
      svg.append(draw("line", { class: `rise line ${colour}`, x1: 360, y1: y(base), x2: 500, y2: y(item.value) }));
      svg.append(draw("line", { class: "join", x1: 500, y1: y(item.value), x2: 516, y2: item.y }));
      const change = slope(item.row, column);
      const arrow = change.better === null ? "" : change.better ? " ▲" : " ▼";
      svg.append(draw("text", { x: 520, y: item.y + 4 }, `${name(item.row, column)}, ${change.absolute}${arrow}`));
    }
    return svg;
  }
  const name = (row, column) => {
    const paper = data.texts[data.rows[row].scope].split("\n")[1];
    const label = rows[row].cells[0].querySelector("bdi").textContent;
    return `${paper}: ${label} ${data.rows[row].cells[column][0]}`;
  };
  const spread = (pairs) => pairs.map(([value, row]) => ({ value, row, y: 0 })).sort((a, b) => b.value - a.value);
  /** Labels at their height, moved apart where they would touch. */
  function fit(items, y, height) {
    items.forEach((item, i) => (item.y = Math.max(y(item.value), i ? items[i - 1].y + 13 : 26)));
    const over = items.length ? items[items.length - 1].y - (height - 8) : 0;
    if (over > 0)
      for (let i = items.length - 1, limit = height - 8; i >= 0; i -= 1, limit -= 13) items[i].y = Math.min(items[i].y, limit);
  }

  // Detail ----------------------------------------------------------------------------------------------------
  const dialog = byId("detail");
  function open(row) {
    byId("detail-name").textContent = rows[row].cells[0].querySelector("bdi").textContent;
    const metadata = heads.slice(0, FIRST).map((head, index) => [head.textContent, plain[row][index]]);
    const setting = rows[row].cells[0].querySelector("small");
    if (setting) metadata.push(["setting", setting.textContent]);
    metadata.push(["provenance", rows[row].dataset.provenance]);
    byId("detail-metadata").replaceChildren(...metadata.map(([term, text]) => {
      const pair = make("div");
      pair.append(make("dt", "", term), make("dd", "", text));
      return pair;
    }));
    byId("detail-rows").replaceChildren(...data.rows[row].cells.flatMap((cell, c) => {
      if (!cell) return [];
      const line = make("tr");
      const value = valueOf(row, c).textContent;
      line.append(make("td", "said", cell[1]), make("td", "num", value), ...[2, 3, 4].map((k) => make("td", "said", data.texts[cell[k]])));
      return [line];
    }));
    dialog.showModal();
  }
  rows.forEach((row, i) => {
    const label = row.cells[0].querySelector("bdi");
    const opener = make("button", "open");
    opener.type = "button";
    label.replaceWith(opener);
    opener.append(label);
    row.addEventListener("click", (event) => event.target.closest("a") || String(getSelection()) || open(i));
  });
  page.closable(dialog, byId("detail-close"));

  for (const id of controls) {
    byId(id).addEventListener(id === "search" ? "input" : "change", () => {
      update();
      sort();
    });
  }
  byId("slope-metric").addEventListener("change", update);
  byId("tools").hidden = false;
  update();
})();
